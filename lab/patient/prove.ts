// `npm run patient:prove`: breaks and repairs the patient with kubectl; the ledger notices a loss.
//
// Examples:
//   npm run patient:prove

import { parseArgs } from 'node:util';
import { main, runSteps, type Step } from '../../hack/progress.ts';
import { OplabError } from '../../src/errors.ts';
import { type StoreView, storeViews } from '../scenarios/stores.ts';
import { checkPatient, describe, soak } from './check.ts';
import type { PatientHealth } from './health.ts';
import { inject } from './inject.ts';
import { ledgerReport } from './observation.ts';
import { openSession, type PatientTarget, targetOptions } from './session.ts';

/** A key that the load writes once and never rewrites. */
const pinnedKey = 't/oplab-load/p/0003';

function demand(condition: boolean, message: string): asserts condition {
  if (!condition) throw new OplabError('OPLAB_PATIENT_PROOF', message);
}

function demandHealthy(health: PatientHealth, when: string): void {
  demand(health.healthy, `not healthy ${when}:\n${describe(health, false)}`);
}

async function stores(target: PatientTarget): Promise<StoreView[]> {
  await using session = await openSession(target);
  return await storeViews(session);
}

/** Runs `oplab-load` in the load's own pod. */
async function load(target: PatientTarget, ...args: string[]): Promise<{ code: number; stdout: string }> {
  await using session = await openSession(target);
  return await session.kubectl(['exec', `${session.name}-load-0`, '--', '/oplab-load', ...args], {
    allowFailure: true,
  });
}

/** The steps of the proof; each throws when its claim does not hold. */
export function proof(target: PatientTarget): Step[] {
  let before: StoreView[] = [];
  return [
    {
      title: 'the patient is healthy',
      expectedSeconds: 5,
      run: async () => {
        demandHealthy(await soak(target, { seconds: 0, withinSeconds: 60 }), 'before the proof');
        before = await stores(target);
      },
    },
    {
      title: 'removing a store, until PD reports it',
      expectedSeconds: 30,
      run: async ({ note }) => {
        await inject('store-scaled-down', { ...target, note });
        const health = await checkPatient(target);
        demand(!health.healthy, 'a store is missing, but the check reports the patient as healthy');
        demand(
          health.ledger.ledgerLost === 0,
          `${health.ledger.ledgerLost} acknowledged writes lost with one store away`,
        );
      },
    },
    {
      title: 'scaling back with kubectl, until healthy for 10 s',
      expectedSeconds: 50,
      run: async ({ note }) => {
        await using session = await openSession(target);
        await session.kubectl(['scale', 'statefulset', `${session.name}-tikv`, `--replicas=${before.length}`]);
        const health = await soak(target, {
          seconds: 10,
          withinSeconds: 180,
          onResult: ({ checks }, held) => {
            const open = checks.find((check) => !check.passing);
            note(open === undefined ? `healthy for ${held.toFixed(0)} s` : `${open.name}: ${open.observed}`);
          },
        });
        demandHealthy(health, 'after the repair');
        demand(health.ledger.ledgerLost === 0, `${health.ledger.ledgerLost} acknowledged writes lost`);
        const after = await storeViews(session);
        const identity = (list: StoreView[]) => list.map(({ id, pod }) => `${pod} is store ${id}`).join(', ');
        demand(identity(after) === identity(before), `stores were ${identity(before)}, and are ${identity(after)}`);
      },
    },
    {
      title: 'deleting an acknowledged key: the ledger notices',
      expectedSeconds: 5,
      run: async () => {
        demand((await load(target, 'delete', '--key', pinnedKey)).code === 0, `deleting ${pinnedKey} failed`);
        try {
          const verified = await load(target, 'verify');
          const report = ledgerReport.parse(JSON.parse(verified.stdout));
          demand(report.ledgerLost >= 1, 'an acknowledged key was deleted, but the ledger reports no loss');
          demand(
            report.lostKeys.some(({ key }) => key === pinnedKey),
            `the ledger does not report ${pinnedKey}`,
          );
          demand(verified.code === 1, `verify ended with ${verified.code} although a key is lost`);
          demand(!(await checkPatient(target)).healthy, 'a key is lost, but the check reports the patient as healthy');
        } finally {
          await load(target, 'put', '--key', pinnedKey);
        }
      },
    },
    {
      title: 'writing the key again: nothing is missing',
      expectedSeconds: 5,
      run: async () =>
        demandHealthy(await soak(target, { seconds: 0, withinSeconds: 30 }), 'after the key was written again'),
    },
  ];
}

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({
      options: {
        ...targetOptions,
      },
    });
    const target = { ...values, signal };
    await runSteps(proof(target), { signal });
    process.stdout.write(`${describe(await checkPatient(target), process.stdout.isTTY === true)}\n`);
    return 0;
  });
