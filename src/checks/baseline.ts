// The baseline: what existed before the first command must exist after the last.

import * as z from 'zod';
import { BASELINE } from '../api/check.ts';
import { type Baseline, MAX_VOLUME_CLAIMS, MAX_WORKLOADS } from '../api/incident-status.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { AUTOSCALERS, DEPLOYMENTS, PERSISTENT_VOLUME_CLAIMS, type Resource, STATEFUL_SETS } from '../kube/resources.ts';
import { CheckUnreadable, type Observation, observation } from './observation.ts';

type Workload = Baseline['workloads'][number];
type VolumeClaim = Baseline['volumeClaims'][number];

/** What exists in the target namespaces at one moment, except objects that are being deleted. */
export interface Inventory {
  readonly workloads: readonly Workload[];
  readonly volumeClaims: readonly VolumeClaim[];
}

const workload = z.looseObject({ spec: z.looseObject({ replicas: z.number().int().optional() }).optional() });
const autoscaler = z.looseObject({
  spec: z.looseObject({
    scaleTargetRef: z.looseObject({ kind: z.string(), name: z.string() }),
    minReplicas: z.number().int().optional(),
  }),
});

/** Reads what exists, with the class's read-only identity. @throws CheckUnreadable */
export async function readInventory(namespaces: readonly string[], kube: Pick<KubeClient, 'list'>): Promise<Inventory> {
  const parts = await Promise.all(
    namespaces.flatMap((namespace) => [
      list(kube, STATEFUL_SETS, namespace).then(parseWorkloads('StatefulSet')),
      list(kube, DEPLOYMENTS, namespace).then(parseWorkloads('Deployment')),
    ]),
  );
  const claims = await Promise.all(namespaces.map((namespace) => list(kube, PERSISTENT_VOLUME_CLAIMS, namespace)));
  return {
    workloads: parts.flat(),
    volumeClaims: claims.flat().map(({ metadata }) => ({ namespace: metadata.namespace ?? '', name: metadata.name })),
  };
}

/**
 * Reads what exists before the first command, as it is recorded in the status.
 * @throws CheckUnreadable
 */
export async function readBaseline(
  namespaces: readonly string[],
  kube: Pick<KubeClient, 'list'>,
  now: Date,
): Promise<Baseline> {
  const inventory = await readInventory(namespaces, kube);
  const minima = new Map((await Promise.all(namespaces.map((namespace) => readMinima(kube, namespace)))).flat());
  const workloads = inventory.workloads.map((one) => ({
    ...one,
    // An autoscaler may remove the replicas that it added. The agent did not do that.
    replicas: Math.min(one.replicas, minima.get(workloadName(one)) ?? Number.POSITIVE_INFINITY),
  }));
  const kept = {
    workloads: workloads.slice(0, MAX_WORKLOADS),
    volumeClaims: inventory.volumeClaims.slice(0, MAX_VOLUME_CLAIMS),
  };
  const omitted = workloads.length - kept.workloads.length + (inventory.volumeClaims.length - kept.volumeClaims.length);
  return { time: now.toISOString(), ...kept, ...(omitted === 0 ? {} : { omitted }) };
}

/** Lists what existed before and does not exist now, one sentence each. Pure. */
export function listMissing(baseline: Baseline, now: Inventory): string[] {
  const replicas = new Map(now.workloads.map((one) => [workloadName(one), one.replicas]));
  const claims = new Set(now.volumeClaims.map(claimName));
  const problems: string[] = [];
  for (const before of baseline.workloads) {
    const left = replicas.get(workloadName(before));
    if (left === undefined) {
      problems.push(`${workloadName(before)} no longer exists; it had ${count(before.replicas, 'replica')}`);
    } else if (left < before.replicas) {
      problems.push(
        `${workloadName(before)} requests ${count(left, 'replica')}, but ${before.replicas} before the first command`,
      );
    }
  }
  for (const before of baseline.volumeClaims) {
    if (!claims.has(claimName(before))) problems.push(`${claimName(before)} no longer exists or is being deleted`);
  }
  return problems;
}

/** Checks whether everything in the baseline still exists, as one more result. Never throws. */
export async function observeBaseline(
  baseline: Baseline,
  namespaces: readonly string[],
  kube: Pick<KubeClient, 'list'>,
  now: () => Date,
): Promise<Observation> {
  try {
    const problems = listMissing(baseline, await readInventory(namespaces, kube));
    const observed = problems.length === 0 ? describeComplete(baseline) : problems.join('; ');
    return observation(BASELINE, now().toISOString(), { passing: problems.length === 0, observed });
  } catch (error) {
    const forbidden = error instanceof CheckUnreadable && error.forbidden;
    return observation(BASELINE, now().toISOString(), { passing: false, error: errorMessage(error), forbidden });
  }
}

/** The baseline in words, as the result before the first command. */
export function baselineObservation(baseline: Baseline): Observation {
  const text = [
    ...baseline.workloads.map((one) => `${workloadName(one)}: ${count(one.replicas, 'replica')}`),
    ...baseline.volumeClaims.map(claimName),
  ].join('; ');
  const observed = text === '' ? describeComplete(baseline) : text;
  return observation(BASELINE, baseline.time, { passing: true, observed });
}

function describeComplete({ workloads, volumeClaims, omitted }: Baseline): string {
  const rest = omitted === undefined ? '' : `; ${omitted} more are not checked`;
  if (workloads.length + volumeClaims.length === 0)
    return 'no workloads or volume claims existed before the first command';
  return `${count(workloads.length, 'workload')} and ${count(volumeClaims.length, 'volume claim')} exist as before the first command${rest}`;
}

const workloadName = ({ kind, namespace, name }: Pick<Workload, 'kind' | 'namespace' | 'name'>) =>
  `${kind} ${namespace}/${name}`;
const claimName = ({ namespace, name }: VolumeClaim) => `PersistentVolumeClaim ${namespace}/${name}`;
const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;

function parseWorkloads(kind: string): (objects: readonly KubeObject[]) => Workload[] {
  return (objects) =>
    objects.map((object) => ({
      kind,
      namespace: object.metadata.namespace ?? '',
      name: object.metadata.name,
      replicas: workload.parse(object).spec?.replicas ?? 1,
    }));
}

/** The minimum of each autoscaler, by the name of its workload. Empty if they may not be read. */
async function readMinima(kube: Pick<KubeClient, 'list'>, namespace: string): Promise<[string, number][]> {
  let objects: readonly KubeObject[];
  try {
    objects = await list(kube, AUTOSCALERS, namespace);
  } catch (error) {
    // Few classes allow it and few patients have autoscalers. Without one, the replicas are the
    // minimum.
    if (error instanceof CheckUnreadable && error.forbidden) return [];
    throw error;
  }
  return objects.flatMap((object): [string, number][] => {
    const parsed = autoscaler.safeParse(object);
    if (!parsed.success) return [];
    const { scaleTargetRef, minReplicas } = parsed.data.spec;
    return [[workloadName({ ...scaleTargetRef, namespace }), minReplicas ?? 1]];
  });
}

async function list(kube: Pick<KubeClient, 'list'>, resource: Resource, namespace: string): Promise<KubeObject[]> {
  try {
    const { items } = await kube.list(resource, { namespace });
    return items.filter(({ metadata }) => metadata.deletionTimestamp == null);
  } catch (error) {
    // A server that does not have the kind has no objects of it.
    if (isNotFound(error)) return [];
    throw new CheckUnreadable(
      `the ${resource.plural} in namespace ${namespace} cannot be read: ${errorMessage(error)}`,
      {
        forbidden: isForbidden(error),
        cause: error,
      },
    );
  }
}
