// Makes trials on the TiKV chart of scenarios, with the checks for their Incidents.

import { errorMessage } from '../../src/errors.ts';
import { soak } from '../patient/check.ts';
import { patientDown } from '../patient/down.ts';
import type { PatientHealth } from '../patient/health.ts';
import { openSession, type PatientSession, type PatientTarget } from '../patient/session.ts';
import { patientUp } from '../patient/up.ts';
import { readSet, recordBefore, tikvSet } from '../scenarios/objects.ts';
import type { Before, InjectContext, Scenario } from '../scenarios/scenario.ts';
import type { Trial, TrialContext } from './trial.ts';

/** Which patient is broken. */
export type TikvPatient = Pick<PatientTarget, 'namespace' | 'release'> & {
  /** Chart values in which this patient differs from the default. */
  readonly set?: readonly string[];
};

/** The conditions of `npm run patient:check`, as far as checks of an Incident can express them. */
async function checksFor(session: PatientSession): Promise<object[]> {
  const { namespace } = session.target;
  const pd = { service: `${session.name}-pd`, namespace, port: 2379 };
  const { replicas } = await readSet(session, tikvSet(session));
  const members = (await readSet(session, `${session.name}-pd`)).replicas;
  const up = `body.stores.filter(s, s.store.state_name == 'Up').size() == ${replicas} && body.stores.all(s, s.store.state_name == 'Up')`;
  const own = `['balance-region-scheduler', 'balance-leader-scheduler', 'balance-hot-region-scheduler', 'evict-slow-store-scheduler']`;
  const set = (name: string, wanted: number) => ({
    kubernetes: {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      namespace,
      name,
      cel: `object.spec.replicas == ${wanted} && object.status.readyReplicas == ${wanted}`,
    },
  });
  return [
    { name: 'stores-up', http: { ...pd, path: '/pd/api/v1/stores', cel: up } },
    {
      name: 'members',
      http: { ...pd, path: '/pd/api/v1/health', cel: `body.size() == ${members} && body.all(m, m.health)` },
    },
    { name: 'no-down-peers', http: { ...pd, path: '/pd/api/v1/regions/check/down-peer', cel: 'body.count == 0' } },
    { name: 'no-missing-peers', http: { ...pd, path: '/pd/api/v1/regions/check/miss-peer', cel: 'body.count == 0' } },
    { name: 'schedulers', http: { ...pd, path: '/pd/api/v1/schedulers', cel: `body.all(s, s in ${own})` } },
    { name: 'tikv-complete', ...set(tikvSet(session), replicas) },
    { name: 'pd-complete', ...set(`${session.name}-pd`, members) },
  ];
}

/** A scenario on a patient. */
export function tikvTrial(scenario: Scenario, patient: TikvPatient): Trial {
  const target = ({ kubeconfig, signal }: TrialContext): PatientTarget => ({ ...patient, kubeconfig, signal });
  const set = [...(patient.set ?? []), ...(scenario.set ?? [])];
  let before: Before = { stores: [], claims: new Map(), p99Milliseconds: Number.NaN };
  let checks: readonly object[] = [];

  const evaluate = (context: TrialContext, seconds: number, withinSeconds: number): Promise<PatientHealth> =>
    soak(target(context), {
      seconds,
      withinSeconds,
      onResult: ({ checks: seen }, held) => {
        const open = seen.find((check) => !check.passing);
        context.note(open === undefined ? `healthy for ${held.toFixed(0)} s` : `${open.name}: ${open.observed}`);
      },
    });

  async function within<T>(context: TrialContext, work: (inside: InjectContext) => Promise<T>): Promise<T> {
    await using session = await openSession(target(context));
    return await work({ session, note: (text) => context.note(text) });
  }

  async function reinstall(context: TrialContext, values: readonly string[]): Promise<void> {
    const { kubeconfig, signal } = context;
    context.note('reinstalling the patient');
    await patientDown({ ...patient, kubeconfig, signal });
    await patientUp({ ...patient, kubeconfig, signal, set: values, note: (text) => context.note(text) });
  }

  /** Waits until the patient is healthy; installs it again when the time is up. */
  async function heal(context: TrialContext, values: readonly string[], withinSeconds: number): Promise<void> {
    if (!(await evaluate(context, 0, withinSeconds)).healthy) await reinstall(context, values);
  }

  return {
    name: scenario.name,
    summary: scenario.summary,
    outcome: scenario.outcome ?? 'Repaired',
    namespace: patient.namespace,
    soakSeconds: scenario.soakSeconds ?? 5,
    ...(scenario.diagnosis === undefined ? {} : { diagnosis: scenario.diagnosis }),
    ...(scenario.forbidden === undefined ? {} : { forbidden: scenario.forbidden }),
    evaluate,
    async prepare(context) {
      const { kubeconfig, signal } = context;
      await heal(context, patient.set ?? [], 60);
      if (scenario.set !== undefined)
        await patientUp({ ...patient, kubeconfig, signal, set, note: (text) => context.note(text) });
      await within(context, async ({ session }) => {
        before = await recordBefore(session);
        checks = await checksFor(session);
      });
      const { stage } = scenario;
      if (stage === undefined) return;
      await within(context, (inside) => stage(inside));
      await heal(context, set, 90);
    },
    inject: (context) => within(context, (inside) => scenario.inject(inside)),
    findings: (context) => within(context, async (inside) => (await scenario.after?.(inside, before)) ?? []),
    checks: async () => checks,
    async restore(context) {
      const { kubeconfig, signal } = context;
      const { restore } = scenario;
      try {
        if (restore !== undefined) await within(context, (inside) => restore(inside));
      } catch (error) {
        signal.throwIfAborted();
        // A half-restored patient may be healthy and still disturb the next trial, for example with
        // a volume of a removed store.
        context.note(errorMessage(error));
        await reinstall(context, patient.set ?? []);
        return;
      }
      // The chart must match what is there. Otherwise an upgrade would bring the extra parts back.
      if (scenario.set !== undefined)
        await patientUp({ ...patient, kubeconfig, signal, set: patient.set ?? [], note: (text) => context.note(text) });
      await heal(context, patient.set ?? [], 150);
    },
  };
}
