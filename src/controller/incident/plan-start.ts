// Acceptance, the queue, and the start of an attempt. Pure.

import type { AgentClass } from '../../api/agent-class.ts';
import { type ClassSnapshot, CONDITIONS } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import type { Acceptance } from './acceptance.ts';
import type { Draft, Observed } from './draft.ts';
import { attemptName } from './names.ts';
import { decide, lookedBeforeHandover } from './plan-end.ts';
import { spentLimit } from './spent-limit.ts';
import type { EndReason } from './status.ts';

/** How long a new attempt waits for the old pod to be gone, in ms; its lease is dead in any case. */
const OLD_POD_WAIT_MS = 60_000;
/** A class that is missing, or a free namespace, is noticed by watches; this is for the case that one got lost. */
const PATIENCE_MS = 60_000;

/** Says in conditions whether the Incident can be worked on. */
export function accept(draft: Draft, accepted: Acceptance): void {
  const before = findCondition(draft.status.conditions, CONDITIONS.Accepted);
  if (accepted.type === 'accepted') {
    // What an agent was started under holds to the end, whatever becomes of the class.
    if (draft.status.attempts === undefined) draft.change({ limits: accepted.limits });
    const message = `works with AgentClass ${accepted.agentClass.metadata.name}`;
    draft.condition({ type: 'Accepted', status: 'True', reason: 'Accepted', message });
    if (draft.holds('Stalled')) draft.condition({ type: 'Stalled', status: 'False', reason: 'Accepted' });
    if (before?.status !== 'True') draft.note('Normal', 'Accepted', message);
    return;
  }
  const { reason, message } = accepted;
  draft.condition({ type: 'Accepted', status: 'False', reason, message });
  draft.condition({ type: 'Stalled', status: 'True', reason, message });
  if (before?.reason !== reason) draft.note('Warning', reason, message);
}

/** Why no attempt will follow the last one; undefined while one may. */
export function escalation(draft: Draft): { readonly reason: EndReason; readonly message: string } | undefined {
  const attempts = draft.status.attempts ?? [];
  const last = attempts.at(-1);
  const { limits } = draft.status;
  const spent = spentLimit(draft);
  if (last?.reason === 'LimitReached' || spent !== undefined) {
    return { reason: 'LimitReached', message: spent ?? last?.message ?? 'a limit is reached' };
  }
  if (last === undefined || limits === undefined || attempts.length < limits.attempts) return undefined;
  const how = attempts.length === 1 ? 'the only attempt' : `all ${attempts.length} attempts`;
  return {
    reason: 'AttemptsExhausted',
    message: `${how} ended; the last one: ${last.reason}: ${last.message ?? ''}`,
  };
}

/** Between attempts: starts the next one, waits for what hinders it, or ends the Incident when none is left. */
export function planNextAttempt(
  draft: Draft,
  observed: Observed,
  accepted: Exclude<Acceptance, { type: 'refused' }>,
): void {
  const attempts = draft.status.attempts ?? [];
  const last = attempts.at(-1);
  const limits = draft.status.limits;
  const over = escalation(draft);
  if (over !== undefined) {
    if (lookedBeforeHandover(draft, observed)) decide(draft, 'Escalated', over.reason, over.message);
    return;
  }
  if (draft.status.startTime !== undefined && limits !== undefined) {
    draft.wake(limits.timeoutSeconds * 1000 - draft.since(draft.status.startTime));
  }
  if (accepted.type === 'waiting') {
    draft.progress('Pending', accepted.reason, accepted.message);
    draft.wake(PATIENCE_MS);
    return;
  }
  if (draft.incident.spec.suspend) {
    draft.progress('Pending', 'Suspended', 'suspended: set spec.suspend to false to go on');
    return;
  }
  if (observed.blocker !== undefined) {
    const { namespace, name, target, working } = observed.blocker;
    const why = working
      ? `which works on namespace ${target}`
      : `which is earlier in the queue for namespace ${target}`;
    draft.progress('Pending', 'Queued', `waiting for Incident ${namespace}/${name}, ${why}`);
    draft.wake(PATIENCE_MS);
    return;
  }
  if (observed.oldPods > 0 && last?.endTime !== undefined && draft.since(last.endTime) < OLD_POD_WAIT_MS) {
    draft.progress('Running', 'Restarting', `waiting for the pod of attempt ${last.number} to end`);
    draft.wake(500);
    return;
  }
  startAttempt(draft, attempts.length + 1, accepted.agentClass);
}

function startAttempt(draft: Draft, number: number, agentClass: AgentClass): void {
  const name = attemptName(draft.incident, number);
  draft.begin({
    number,
    sessionID: draft.session,
    podName: name,
    serviceAccountName: name,
    class: snapshotOf(agentClass),
    startTime: draft.time,
  });
  draft.progress('Running', 'AttemptStarting', `starting attempt ${number}`);
  draft.condition({ type: 'AgentRunning', status: 'False', reason: 'Starting', message: `pod ${name}` });
  const first = findCondition(draft.status.conditions, CONDITIONS.Verified) === undefined;
  if (first)
    draft.condition({ type: 'Verified', status: 'Unknown', reason: 'NotClaimed', message: 'no repair is claimed yet' });
  draft.note('Normal', 'AttemptStarted', `attempt ${number} with AgentClass ${agentClass.metadata.name}, pod ${name}`);
  draft.act({ type: 'start-attempt', attempt: number, agentClass });
  draft.wake(1000);
}

function snapshotOf({ metadata, spec }: AgentClass): ClassSnapshot {
  return {
    name: metadata.name,
    generation: metadata.generation ?? 0,
    mode: spec.mode,
    model: spec.model.name,
    summaryModel: spec.model.summaryName,
    maxOutputTokens: spec.model.maxOutputTokens,
    ...(spec.promptAdditions === undefined ? {} : { promptAdditions: spec.promptAdditions }),
    ...(spec.docker === undefined ? {} : { docker: spec.docker }),
  };
}
