// The baseline: what stood before the first command and must stand after the last, so that deleting the patient is no cure.

import { z } from 'zod';
import { BASELINE } from '../api/check.ts';
import { type Baseline, MAX_VOLUME_CLAIMS, MAX_WORKLOADS } from '../api/incident.ts';
import { messageOf } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { AUTOSCALERS, DEPLOYMENTS, PERSISTENT_VOLUME_CLAIMS, type Resource, STATEFUL_SETS } from '../kube/resources.ts';
import { CheckUnreadable, type Observation, observation } from './observation.ts';

type Workload = Baseline['workloads'][number];
type VolumeClaim = Baseline['volumeClaims'][number];

/** What stands in the target namespaces at one moment. Whatever is being deleted does not stand any more. */
export interface Standing {
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

/** Reads what stands, with the class's read-only identity. @throws CheckUnreadable */
export async function readStanding(namespaces: readonly string[], kube: Pick<KubeClient, 'list'>): Promise<Standing> {
  const parts = await Promise.all(
    namespaces.flatMap((namespace) => [
      list(kube, STATEFUL_SETS, namespace).then(workloadsOf('StatefulSet')),
      list(kube, DEPLOYMENTS, namespace).then(workloadsOf('Deployment')),
    ]),
  );
  const claims = await Promise.all(namespaces.map((namespace) => list(kube, PERSISTENT_VOLUME_CLAIMS, namespace)));
  return {
    workloads: parts.flat(),
    volumeClaims: claims.flat().map(({ metadata }) => ({ namespace: metadata.namespace ?? '', name: metadata.name })),
  };
}

/**
 * The record that is kept of what stands before the first command.
 * @throws CheckUnreadable
 */
export async function readBaseline(
  namespaces: readonly string[],
  kube: Pick<KubeClient, 'list'>,
  now: Date,
): Promise<Baseline> {
  const standing = await readStanding(namespaces, kube);
  const floors = new Map((await Promise.all(namespaces.map((namespace) => minimaOf(kube, namespace)))).flat());
  const workloads = standing.workloads.map((one) => ({
    ...one,
    // An autoscaler may take away what it has added; that is no doing of the agent's.
    replicas: Math.min(one.replicas, floors.get(nameOf(one)) ?? Number.POSITIVE_INFINITY),
  }));
  const kept = {
    workloads: workloads.slice(0, MAX_WORKLOADS),
    volumeClaims: standing.volumeClaims.slice(0, MAX_VOLUME_CLAIMS),
  };
  const omitted = workloads.length - kept.workloads.length + (standing.volumeClaims.length - kept.volumeClaims.length);
  return { time: now.toISOString(), ...kept, ...(omitted === 0 ? {} : { omitted }) };
}

/** What stood before and does not stand now, in one sentence each. Pure. */
export function missingSince(baseline: Baseline, now: Standing): string[] {
  const replicas = new Map(now.workloads.map((one) => [nameOf(one), one.replicas]));
  const claims = new Set(now.volumeClaims.map(claimName));
  const problems: string[] = [];
  for (const before of baseline.workloads) {
    const left = replicas.get(nameOf(before));
    if (left === undefined) problems.push(`${nameOf(before)} is gone, it had ${count(before.replicas, 'replica')}`);
    else if (left < before.replicas) {
      problems.push(
        `${nameOf(before)} asks for ${count(left, 'replica')}, before the first command for ${before.replicas}`,
      );
    }
  }
  for (const before of baseline.volumeClaims) {
    if (!claims.has(claimName(before))) problems.push(`${claimName(before)} is gone or being deleted`);
  }
  return problems;
}

/** Looks whether the baseline still stands, as one more result beside the checks. Never throws. */
export async function observeBaseline(
  baseline: Baseline,
  namespaces: readonly string[],
  kube: Pick<KubeClient, 'list'>,
  now: () => Date,
): Promise<Observation> {
  try {
    const problems = missingSince(baseline, await readStanding(namespaces, kube));
    const observed = problems.length === 0 ? standsText(baseline) : problems.join('; ');
    return observation(BASELINE, now().toISOString(), { passing: problems.length === 0, observed });
  } catch (error) {
    const forbidden = error instanceof CheckUnreadable && error.forbidden;
    return observation(BASELINE, now().toISOString(), { passing: false, error: messageOf(error), forbidden });
  }
}

/** The baseline itself in words, for the result before the first command. */
export function baselineObservation(baseline: Baseline): Observation {
  const text = [
    ...baseline.workloads.map((one) => `${nameOf(one)}: ${count(one.replicas, 'replica')}`),
    ...baseline.volumeClaims.map(claimName),
  ].join('; ');
  return observation(BASELINE, baseline.time, { passing: true, observed: text === '' ? standsText(baseline) : text });
}

function standsText({ workloads, volumeClaims, omitted }: Baseline): string {
  const rest = omitted === undefined ? '' : `; ${omitted} more are not looked after`;
  if (workloads.length + volumeClaims.length === 0)
    return 'no workloads or volume claims stood before the first command';
  return `${count(workloads.length, 'workload')} and ${count(volumeClaims.length, 'volume claim')} stand as before the first command${rest}`;
}

const nameOf = ({ kind, namespace, name }: Pick<Workload, 'kind' | 'namespace' | 'name'>) =>
  `${kind} ${namespace}/${name}`;
const claimName = ({ namespace, name }: VolumeClaim) => `PersistentVolumeClaim ${namespace}/${name}`;
const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;

function workloadsOf(kind: string): (objects: readonly KubeObject[]) => Workload[] {
  return (objects) =>
    objects.map((object) => ({
      kind,
      namespace: object.metadata.namespace ?? '',
      name: object.metadata.name,
      replicas: workload.parse(object).spec?.replicas ?? 1,
    }));
}

/** What autoscalers may go down to, by the workload's name; empty where they cannot be read. */
async function minimaOf(kube: Pick<KubeClient, 'list'>, namespace: string): Promise<[string, number][]> {
  let objects: readonly KubeObject[];
  try {
    objects = await list(kube, AUTOSCALERS, namespace);
  } catch (error) {
    // Most classes' roles do not know them, and most patients have none; without them the count itself is the bound.
    if (error instanceof CheckUnreadable && error.forbidden) return [];
    throw error;
  }
  return objects.flatMap((object): [string, number][] => {
    const parsed = autoscaler.safeParse(object);
    if (!parsed.success) return [];
    const { scaleTargetRef, minReplicas } = parsed.data.spec;
    return [[nameOf({ ...scaleTargetRef, namespace }), minReplicas ?? 1]];
  });
}

async function list(kube: Pick<KubeClient, 'list'>, resource: Resource, namespace: string): Promise<KubeObject[]> {
  try {
    const { items } = await kube.list(resource, { namespace });
    return items.filter(({ metadata }) => metadata.deletionTimestamp == null);
  } catch (error) {
    // A server without this kind has none of it.
    if (isNotFound(error)) return [];
    throw new CheckUnreadable(`what stands in namespace ${namespace} cannot be read: ${messageOf(error)}`, {
      forbidden: isForbidden(error),
      cause: error,
    });
  }
}
