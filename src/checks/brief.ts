// Summarizes an object of a list in one line, because there is little room for evidence. Pure.

import * as z from 'zod';
import type { KubeObject } from '../kube/client.ts';

const state = z.looseObject({ reason: z.string().optional() }).optional();
const states = z.looseObject({ waiting: state, terminated: state }).optional();
const brief = z.looseObject({
  spec: z.looseObject({ replicas: z.number().optional() }).optional(),
  status: z
    .looseObject({
      phase: z.string().optional(),
      readyReplicas: z.number().optional(),
      conditions: z
        .array(z.looseObject({ type: z.string(), status: z.string(), reason: z.string().optional() }))
        .optional(),
      containerStatuses: z
        .array(
          z.looseObject({
            name: z.string(),
            ready: z.boolean().optional(),
            restartCount: z.number().optional(),
            state: states,
            lastState: states,
          }),
        )
        .optional(),
    })
    .optional(),
});

/**
 * For example `tikv-tikv-0: Pending, PodScheduled False (Unschedulable)`, or `tikv-tikv: 2 of 3
 * replicas ready`.
 */
export function summarizeObject(object: KubeObject): string {
  const { name } = object.metadata;
  const parsed = brief.safeParse(object);
  if (!parsed.success) return name;
  const { spec, status } = parsed.data;
  const parts = [
    ...(spec?.replicas === undefined ? [] : [`${status?.readyReplicas ?? 0} of ${spec.replicas} replicas ready`]),
    ...(status?.phase === undefined ? [] : [status.phase]),
    ...(status?.containerStatuses ?? []).map((container) => {
      const reasons = [
        container.state?.waiting?.reason,
        container.state?.terminated?.reason,
        ...(container.lastState?.terminated?.reason === undefined
          ? []
          : [`previously ${container.lastState.terminated.reason}`]),
      ].filter((reason) => reason !== undefined);
      const restarts = container.restartCount ? [`${container.restartCount} restarts`] : [];
      return [`${container.name} ${container.ready ? 'ready' : 'not ready'}`, ...reasons, ...restarts].join(', ');
    }),
    // The containers above already say what is not ready, and why.
    ...(status?.conditions ?? [])
      .filter((one) => one.status === 'False' && !/^(Containers)?Ready$/.test(one.type))
      .map((one) => `${one.type} False${one.reason === undefined ? '' : ` (${one.reason})`}`),
  ];
  return parts.length === 0 ? name : `${name}: ${parts.join('; ')}`;
}
