// The patient's Kubernetes objects, as scenarios break and watch them.
import * as z from 'zod';
import { OplabError } from '../../src/errors.ts';
import type { Check } from '../patient/health.ts';
import type { PatientSession } from '../patient/session.ts';
import type { Before, InjectContext } from './scenario.ts';
import { storeViews } from './stores.ts';
import { waitFor } from './waiting.ts';

const state = z.looseObject({
  waiting: z.object({ reason: z.string().optional() }).optional(),
  terminated: z.object({ reason: z.string().optional(), exitCode: z.number().optional() }).optional(),
});
const pod = z.object({
  metadata: z.object({ name: z.string(), uid: z.string(), deletionTimestamp: z.string().optional() }),
  status: z.object({
    phase: z.string(),
    podIP: z.string().optional(),
    containerStatuses: z
      .array(z.object({ ready: z.boolean(), restartCount: z.number(), state, lastState: state.prefault({}) }))
      .default([]),
  }),
});
const statefulSet = z.object({
  spec: z.object({
    replicas: z.number(),
    template: z.object({
      spec: z.object({
        containers: z
          .array(z.object({ name: z.string(), image: z.string(), args: z.array(z.string()).default([]) }))
          .min(1),
      }),
    }),
  }),
});
const ledger = z.object({ p99Milliseconds: z.number() });
const claims = z.object({ items: z.array(z.object({ metadata: z.object({ name: z.string(), uid: z.string() }) })) });

/** Name of TiKV's StatefulSet. */
export const tikvSet = (session: PatientSession) => `${session.name}-tikv`;

/** The replicas of a StatefulSet, and its only container. */
export async function readSet(session: PatientSession, name: string) {
  const { spec } = await session.get(
    `/apis/apps/v1/namespaces/${session.target.namespace}/statefulsets/${name}`,
    statefulSet,
  );
  const [container] = spec.template.spec.containers;
  if (container === undefined) throw new OplabError('OPLAB_INVALID_INPUT', `${name} has no container`);
  return { replicas: spec.replicas, container };
}

/** The pod with the highest ordinal, which a rolling update restarts first. */
export async function lastPod(session: PatientSession): Promise<string> {
  const set = tikvSet(session);
  const { replicas } = await readSet(session, set);
  return `${set}-${replicas - 1}`;
}

/** The current pod; undefined if there is none. */
export async function readPod(session: PatientSession, name: string): Promise<z.infer<typeof pod> | undefined> {
  const path = `/api/v1/namespaces/${session.target.namespace}/pods/${name}`;
  const answer = await session.kubectl(['get', '--raw', path], { allowFailure: true });
  return answer.code === 0 ? pod.parse(JSON.parse(answer.stdout)) : undefined;
}

/** Why a pod's container does not run, now or the last time: "CrashLoopBackOff OOMKilled". */
export function describeReasons(found: z.infer<typeof pod>): string {
  const [container] = found.status.containerStatuses;
  const { state: now, lastState: last } = container ?? { state: {}, lastState: {} };
  return [now.waiting?.reason, now.terminated?.reason, last.terminated?.reason].filter(Boolean).join(' ');
}

/** Waits until a new pod of that name, not the one with `uid`, shows a reason. */
export async function waitForReason(
  { session, note }: InjectContext,
  name: string,
  uid: string | undefined,
  reason: RegExp,
  withinSeconds = 150,
): Promise<void> {
  const { signal } = session.target;
  await waitFor({ what: `${name} to show ${reason.source}`, withinSeconds, signal, note }, async () => {
    const found = await readPod(session, name);
    return found !== undefined && found.metadata.uid !== uid && reason.test(describeReasons(found)) ? found : undefined;
  });
}

/** Waits until PD has lost a pod's store. */
export async function waitForLostStore({ session, note }: InjectContext, name: string): Promise<void> {
  const { signal } = session.target;
  const what = `PD to report the store of ${name} as disconnected`;
  await waitFor({ what, withinSeconds: 120, signal, note }, async () => {
    const store = (await storeViews(session)).find((item) => item.pod === name);
    return store?.state === 'Disconnected' || store?.state === 'Down' ? store : undefined;
  });
}

/** Changes the container of TiKV's StatefulSet, as `kubectl edit` would. */
export async function patchContainer(session: PatientSession, change: object): Promise<void> {
  const set = tikvSet(session);
  const { container } = await readSet(session, set);
  const patch = { spec: { template: { spec: { containers: [{ name: container.name, ...change }] } } } };
  await session.kubectl(['patch', 'statefulset', set, '--type=strategic', `--patch=${JSON.stringify(patch)}`]);
}

/** The 99th percentile of the load's transactions over the last 30 s, in milliseconds. */
export async function p99(session: PatientSession): Promise<number> {
  return (await session.get(session.service('load', '/ledger'), ledger)).p99Milliseconds;
}

/** Records what must be the same afterwards. */
export async function recordBefore(session: PatientSession): Promise<Before> {
  const { items } = await session.get(`/api/v1/namespaces/${session.target.namespace}/persistentvolumeclaims`, claims);
  return {
    stores: await storeViews(session),
    p99Milliseconds: await p99(session).catch(() => Number.NaN),
    claims: new Map(items.map(({ metadata }) => [metadata.name, metadata.uid])),
  };
}

const describeStores = (stores: Before['stores']) =>
  stores
    .map(({ id, pod: name }) => `${name} is store ${id}`)
    .sort()
    .join(', ');

/** The same stores in the same pods on the same volumes: the repair discarded nothing. */
export async function sameIdentity({ session }: InjectContext, before: Before): Promise<Check[]> {
  const now = await recordBefore(session);
  const kept = [...before.claims].every(([name, uid]) => now.claims.get(name) === uid);
  return [
    {
      name: 'same stores',
      passing: describeStores(now.stores) === describeStores(before.stores),
      observed: describeStores(now.stores),
    },
    {
      name: 'same volumes',
      passing: kept,
      observed: kept ? `all ${before.claims.size} claims` : 'a claim is missing or new',
    },
  ];
}
