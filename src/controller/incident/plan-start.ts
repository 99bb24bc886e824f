// Plans acceptance, waiting in the queue, and the start of an attempt. Pure.

import type { AgentClass } from '../../api/agent-class.ts';
import { CONDITIONS } from '../../api/incident.ts';
import type { ClassSnapshot, IncidentStatus } from '../../api/incident-status.ts';
import { findCondition } from '../../api/meta.ts';
import { modelOptions } from '../../api/model-options.ts';
import type { Acceptance } from './acceptance.ts';
import { attemptName } from './names.ts';
import { addStartActions } from './plan-attempt.ts';
import type { Observed, PlanBuilder } from './plan-builder.ts';
import { isObservedBeforeHandover, requestEnd } from './plan-end.ts';
import { isTimeUp, type LimitFacts, reachedLimit } from './reached-limit.ts';
import type { EndReason } from './status.ts';

/**
 * How long a new attempt waits for the old pod to go, in ms. The lease of that pod is dead already.
 */
const OLD_POD_WAIT_MS = 60_000;
/** Watches report a new class or a free namespace. This interval covers a lost event. In ms. */
const FALLBACK_POLL_MS = 60_000;

/** Records in conditions whether the Incident can be worked on. */
export function accept(builder: PlanBuilder, accepted: Acceptance): void {
  const before = findCondition(builder.status.conditions, CONDITIONS.Accepted);
  if (accepted.type === 'accepted') {
    // The limits of the first attempt apply to the end, even if the class changes.
    if (builder.status.attempts === undefined) builder.change({ limits: accepted.limits });
    const message = `uses AgentClass ${accepted.agentClass.metadata.name}`;
    builder.condition({ type: 'Accepted', status: 'True', reason: 'Accepted', message });
    if (builder.holds('Stalled')) builder.condition({ type: 'Stalled', status: 'False', reason: 'Accepted' });
    if (before?.status !== 'True') builder.note('Normal', 'Accepted', message);
    return;
  }
  const { reason, message } = accepted;
  builder.condition({ type: 'Accepted', status: 'False', reason, message });
  builder.condition({ type: 'Stalled', status: 'True', reason, message });
  if (before?.reason !== reason) builder.note('Warning', reason, message);
}

/** Why no further attempt will start; undefined while one may. */
export function findEscalation(
  status: LimitFacts & Pick<IncidentStatus, 'attempts'>,
  now: Date,
): { readonly reason: EndReason; readonly message: string } | undefined {
  const { attempts = [], limits } = status;
  const last = attempts.at(-1);
  const reached = reachedLimit(status, now);
  if (last?.reason === 'LimitReached' || reached !== undefined) {
    const isDay = status.usage?.limitReached === 'day' && !isTimeUp(status, now);
    return {
      reason: isDay ? 'DayLimitReached' : 'LimitReached',
      message: reached ?? last?.message ?? 'a limit was reached',
    };
  }
  if (last?.reason === 'ModelFailed') return { reason: 'ModelFailed', message: last.message ?? 'the model failed' };
  if (last === undefined || limits === undefined || attempts.length < limits.attempts) return undefined;
  const how = attempts.length === 1 ? 'the only attempt' : `all ${attempts.length} attempts`;
  return {
    reason: 'AttemptsExhausted',
    message: `${how} ended, the last with ${last.reason}: ${last.message ?? ''}`,
  };
}

/** Between attempts: starts the next one, waits for what prevents it, or ends the Incident. */
export function planNextAttempt(
  builder: PlanBuilder,
  observed: Observed,
  accepted: Exclude<Acceptance, { type: 'refused' }>,
): void {
  const attempts = builder.status.attempts ?? [];
  const last = attempts.at(-1);
  const limits = builder.status.limits;
  const over = findEscalation(builder.withUsage, builder.now);
  if (over !== undefined) {
    if (isObservedBeforeHandover(builder, observed)) requestEnd(builder, 'Escalated', over.reason, over.message);
    return;
  }
  if (builder.status.startTime !== undefined && limits !== undefined) {
    builder.requeueAfter(limits.timeoutSeconds * 1000 - builder.since(builder.status.startTime));
  }
  if (accepted.type === 'waiting') {
    builder.progress('Pending', accepted.reason, accepted.message);
    builder.requeueAfter(FALLBACK_POLL_MS);
    return;
  }
  if (builder.incident.spec.suspend) {
    builder.progress('Pending', 'Suspended', 'suspended: set spec.suspend to false to continue');
    return;
  }
  if (observed.quotaHold !== undefined) {
    const { reason, message, untilMs } = observed.quotaHold;
    const isNew = findCondition(builder.status.conditions, CONDITIONS.Reconciling)?.reason !== reason;
    builder.progress('Pending', reason, message);
    if (isNew) builder.note('Warning', reason, message);
    builder.requeueAfter(Math.min(FALLBACK_POLL_MS, (untilMs ?? Number.POSITIVE_INFINITY) - builder.now.getTime()));
    return;
  }
  if (observed.blocker !== undefined) {
    const { namespace, name, target, working } = observed.blocker;
    const why = working
      ? `which works on namespace ${target}`
      : `which is earlier in the queue for namespace ${target}`;
    builder.progress('Pending', 'Queued', `waiting for Incident ${namespace}/${name}, ${why}`);
    builder.requeueAfter(FALLBACK_POLL_MS);
    return;
  }
  if (observed.oldPods > 0 && last?.endTime !== undefined && builder.since(last.endTime) < OLD_POD_WAIT_MS) {
    builder.progress('Running', 'Restarting', `waiting for the pod of attempt ${last.number} to end`);
    builder.requeueAfter(500);
    return;
  }
  planAttemptStart(builder, attempts.length + 1, accepted.agentClass);
}

function planAttemptStart(builder: PlanBuilder, number: number, agentClass: AgentClass): void {
  const name = attemptName(builder.incident, number);
  builder.begin({
    number,
    sessionID: builder.session,
    podName: name,
    serviceAccountName: name,
    class: takeSnapshot(agentClass),
    startTime: builder.time,
  });
  builder.progress('Running', 'AttemptStarting', `starting attempt ${number}`);
  builder.condition({ type: 'AgentRunning', status: 'False', reason: 'Starting', message: `pod ${name}` });
  const first = findCondition(builder.status.conditions, CONDITIONS.Verified) === undefined;
  if (first)
    builder.condition({
      type: 'Verified',
      status: 'Unknown',
      reason: 'NotClaimed',
      message: 'no repair has been claimed yet',
    });
  builder.note(
    'Normal',
    'AttemptStarted',
    `attempt ${number} with AgentClass ${agentClass.metadata.name}, pod ${name}`,
  );
  addStartActions(builder, number, agentClass);
  builder.requeueAfter(1000);
}

function takeSnapshot({ metadata, spec }: AgentClass): ClassSnapshot {
  const options = modelOptions.parse(spec.model);
  return {
    name: metadata.name,
    generation: metadata.generation ?? 0,
    mode: spec.mode,
    model: spec.model.name,
    summaryModel: spec.model.summaryName,
    maxOutputTokens: spec.model.maxOutputTokens,
    ...(Object.keys(options).length === 0 ? {} : { modelOptions: options }),
    runbooks: spec.runbooks,
    ...(spec.promptAdditions === undefined ? {} : { promptAdditions: spec.promptAdditions }),
    ...(spec.docker === undefined ? {} : { docker: spec.docker }),
  };
}
