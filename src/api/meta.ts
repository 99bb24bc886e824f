// The parts of the Kubernetes object model that oplab's own resources use.

import * as z from 'zod';

/** RFC 3339 in UTC. */
export const time = z.string().meta({ format: 'date-time' });

/** Sources of regular expressions, for use in larger ones. */
export const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
export const SUBDOMAIN = '[a-z0-9]([-a-z0-9.]*[a-z0-9])?';

export const DNS_LABEL = new RegExp(`^${LABEL}$`);

/** A DNS label (RFC 1123). */
export const dnsLabel = z.string().min(1).max(63).regex(DNS_LABEL);

/** The metadata that oplab reads. Everything else passes through unchanged. */
export const objectMeta = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().default(''),
  resourceVersion: z.string().optional(),
  generation: z.number().int().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  finalizers: z.array(z.string()).optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
export type ObjectMeta = z.infer<typeof objectMeta>;

/** A metav1.Condition. */
export const condition = z.object({
  type: z.string().max(316).meta({ description: 'Type of the condition.' }),
  status: z.enum(['True', 'False', 'Unknown']).meta({ description: 'Status of the condition.' }),
  reason: z.string().min(1).max(1024).meta({ description: 'Reason for the status, as one word for programs.' }),
  message: z.string().max(32768).meta({ description: 'Details for people. May be empty.' }),
  lastTransitionTime: time.meta({ description: 'When the status of the condition last changed.' }),
  observedGeneration: z
    .number()
    .int()
    .optional()
    .meta({ description: 'The metadata.generation that the condition is based on.' }),
});
export type Condition = z.infer<typeof condition>;

/** The conditions of a status, as Kubernetes keeps them. @param description what they say */
export function conditionList(description: string) {
  return z
    .array(condition)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
      description,
    });
}

/**
 * The conditions with one of them set, in the given order of types. `lastTransitionTime` changes
 * only when the status does.
 */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  change: Omit<Condition, 'lastTransitionTime' | 'observedGeneration' | 'message'> & { readonly message?: string },
  context: { readonly now: string; readonly generation: number | undefined; readonly order: readonly string[] },
): Condition[] {
  const { now, generation, order } = context;
  const known = findCondition(conditions, change.type);
  const next: Condition = {
    type: change.type,
    status: change.status,
    reason: change.reason,
    message: change.message ?? '',
    lastTransitionTime: known?.status === change.status ? known.lastTransitionTime : now,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
  const others = (conditions ?? []).filter((condition) => condition.type !== change.type);
  return [...others, next].sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
}

/** Finds a condition in a list; undefined if it was never set. */
export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((candidate) => candidate.type === type);
}

/** Whether the condition is set and its status is True. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}
