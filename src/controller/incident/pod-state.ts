// Derives the state of an attempt from the status of its pod: starting, running or ended. Pure.

import * as z from 'zod';
import { type AgentReport, readAgentReport } from '../../api/agent-report.ts';
import { AGENT_CONTAINER } from '../../api/group.ts';
import type { KubeObject } from '../../kube/object.ts';

const terminated = z
  .object({ exitCode: z.number().optional(), reason: z.string().optional(), message: z.string().optional() })
  .nullish();

const containerStatus = z.object({
  name: z.string(),
  restartCount: z.number().optional(),
  state: z
    .object({
      waiting: z.object({ reason: z.string().optional(), message: z.string().optional() }).nullish(),
      running: z.looseObject({}).nullish(),
      terminated,
    })
    .nullish(),
  lastState: z.object({ terminated }).nullish(),
});

const podStatus = z.object({
  phase: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  conditions: z
    .array(
      z.object({ type: z.string(), status: z.string(), reason: z.string().optional(), message: z.string().optional() }),
    )
    .nullish(),
  initContainerStatuses: z.array(containerStatus).nullish(),
  containerStatuses: z.array(containerStatus).nullish(),
});

export type PodState =
  | { readonly type: 'starting'; readonly problem?: string }
  | { readonly type: 'running' }
  /** `completed`: the agent exited by itself, without an error. `report`: why, in its own words. */
  | {
      readonly type: 'ended';
      readonly completed: boolean;
      readonly message: string;
      readonly report?: AgentReport | undefined;
    };

export interface PodView {
  readonly name: string;
  readonly uid: string;
  /** The attempt on its label. */
  readonly attempt: number;
  readonly deleting: boolean;
  readonly state: PodState;
}

/** After this many restarts of a container that fails by itself, another one is not expected to help. */
const MAX_FAILURES = 5;
/** An agent that is killed goes on where it was. The gateway ends one that never comes further. */
const MAX_KILLS = 20;
const SIGKILLED = 137;

/**
 * Waiting reasons that indicate a problem; others (ContainerCreating, PodInitializing) are normal.
 */
const TROUBLE =
  /^(ErrImage|ImagePull|InvalidImageName|Create.*Error|RunContainerError|CrashLoopBackOff|RegistryUnavailable)/;

export function podState(pod: KubeObject): PodState {
  const status = podStatus.parse(pod.status ?? {});
  const exit = status.containerStatuses?.find((container) => container.name === AGENT_CONTAINER)?.state?.terminated;
  if (status.phase === 'Succeeded') {
    return { type: 'ended', completed: true, message: 'the agent ended', report: readAgentReport(exit?.message ?? '') };
  }
  if (status.phase === 'Failed') {
    const why = [status.reason, status.message].filter(Boolean).join(': ');
    const how = exit == null ? '' : `${exit.reason ?? 'exit'} ${exit.exitCode ?? ''}`.trim();
    return { type: 'ended', completed: false, message: `the pod failed: ${why || how || 'no reason given'}` };
  }
  const agent = status.containerStatuses?.find((container) => container.name === AGENT_CONTAINER);
  const last = agent?.state?.terminated ?? agent?.lastState?.terminated;
  if ((agent?.restartCount ?? 0) >= (last?.exitCode === SIGKILLED ? MAX_KILLS : MAX_FAILURES)) {
    return { type: 'ended', completed: false, message: `the agent failed ${agent?.restartCount} times in a row` };
  }
  if (agent?.state?.running != null || (agent?.restartCount ?? 0) > 0 || agent?.state?.terminated != null) {
    return { type: 'running' };
  }
  for (const container of [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]) {
    const waiting = container.state?.waiting;
    if (waiting?.reason !== undefined && TROUBLE.test(waiting.reason)) {
      const detail = waiting.message === undefined ? '' : `: ${waiting.message}`;
      return { type: 'starting', problem: `container ${container.name}: ${waiting.reason}${detail}` };
    }
  }
  const scheduled = status.conditions?.find((condition) => condition.type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    return { type: 'starting', problem: `${scheduled.reason ?? 'not scheduled'}: ${scheduled.message ?? ''}`.trim() };
  }
  return { type: 'starting' };
}

/** Whether nothing in the pod can run any more. */
export function hasEnded(pod: PodView): boolean {
  return pod.state.type === 'ended' && pod.state.completed;
}
