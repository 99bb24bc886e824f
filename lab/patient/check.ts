// `npm run patient:check`: exit code 0 only if all conditions of a healthy TiKV cluster hold.
//
//   --namespace NS --release NAME   which patient (tikv, tikv)
//   --soak SECONDS                  all must hold for that long, without interruption or a restart
//   -o json                         prints the result as JSON
//
// Examples:
//   npm run patient:check
//   npm run patient:check -- --soak 60
//   npm run patient:check -- -o json

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pc from 'picocolors';
import { main } from '../../hack/progress.ts';
import { evaluateObservation, type PatientHealth } from './health.ts';
import { observe, wantedReplicas } from './observation.ts';
import { openSession, type PatientSession, type PatientTarget, targetOptions } from './session.ts';

/** Observes a patient once and decides whether it is healthy. */
export async function checkPatient(target: PatientTarget): Promise<PatientHealth> {
  await using session = await openSession(target);
  return evaluateObservation(await observe(session), session.name);
}

/** Options of a soak. */
export interface SoakOptions {
  /** How long all conditions must hold without interruption. */
  readonly seconds: number;
  /**
   * How long to wait for the soak to begin and to hold. Default: the first observation decides.
   */
  readonly withinSeconds?: number;
  readonly everyMs?: number;
  readonly onResult?: (health: PatientHealth, heldSeconds: number) => void;
}

/**
 * Observes until all conditions have held for `seconds`. A break or a restarted container starts
 * the soak again, as long as `withinSeconds` allows.
 * @returns the last result; not healthy if the soak was not reached.
 */
export async function soak(target: PatientTarget, options: SoakOptions): Promise<PatientHealth> {
  await using session = await openSession(target);
  return await soakSession(session, options);
}

async function soakSession(session: PatientSession, options: SoakOptions): Promise<PatientHealth> {
  const wanted = await wantedReplicas(session);
  const giveUp = Date.now() + (options.withinSeconds ?? 0) * 1000;
  let since: number | undefined;
  let restarts: number | undefined;
  for (;;) {
    const started = Date.now();
    const observation = await observe(session, wanted);
    const seen = evaluateObservation(observation, session.name);
    const now = 'value' in observation.restarts ? observation.restarts.value : undefined;
    // A container that restarts between two observations may be healthy in both.
    const steady = since === undefined || now === restarts;
    const health: PatientHealth = steady
      ? seen
      : {
          ...seen,
          healthy: false,
          checks: [...seen.checks, { name: 'no restart', passing: false, observed: `${restarts} before, ${now} now` }],
        };
    restarts = now;
    since = health.healthy ? (since ?? started) : undefined;
    const held = since === undefined ? 0 : (Date.now() - since) / 1000;
    options.onResult?.(health, held);
    if (health.healthy && held >= options.seconds) return health;
    if (!health.healthy && Date.now() >= giveUp) return health;
    await sleep(Math.max(0, (options.everyMs ?? 2000) - (Date.now() - started)), undefined, {
      signal: session.target.signal,
    });
  }
}

/** The conditions as lines for people. */
export function describe(health: PatientHealth, colour: boolean): string {
  const paint = pc.createColors(colour);
  const lines = health.checks.map(
    (item) => `  ${item.passing ? paint.green('✓') : paint.red('✗')} ${item.name}: ${item.observed}`,
  );
  const lost = health.ledger.lostKeys.map(
    (key) => `      lost ${key.key} (version ${key.expectedVersion}): ${key.reason}`,
  );
  return [...lines, ...lost].join('\n');
}

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({
      options: {
        ...targetOptions,
        soak: { type: 'string', default: '0' },
        output: { type: 'string', short: 'o' },
      },
    });
    const { namespace, release, kubeconfig } = values;
    const wanted = Number(values.soak);
    if (!Number.isFinite(wanted) || wanted < 0) throw new Error('--soak must be a number of seconds, 0 or more');
    const health = await soak({ namespace, release, kubeconfig, signal }, { seconds: wanted });
    if (values.output === 'json') process.stdout.write(`${JSON.stringify(health)}\n`);
    else {
      const colour = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
      const held = wanted > 0 && health.healthy ? `, for ${wanted} s without interruption` : '';
      process.stdout.write(
        `Release ${release} in namespace ${namespace} is ${health.healthy ? 'healthy' : 'NOT healthy'}${held}\n${describe(health, colour)}\n`,
      );
    }
    return health.healthy ? 0 : 1;
  });
