// Plans a live attempt: whether it is starting, working or over. Pure.

import type { AgentClass } from '../../api/agent-class.ts';
import { type AgentReport, isFinalReport } from '../../api/agent-report.ts';
import type { Attempt } from '../../api/incident-status.ts';
import type { Learned, Observed, PlanBuilder } from './plan-builder.ts';
import type { PodView } from './pod-state.ts';
import { reachedLimit } from './reached-limit.ts';
import { findClaim } from './status.ts';

/** A pod that reports a problem must start within this time, in ms. */
const START_TROUBLE_MS = 60_000;
/** A pod that is only slow, such as one with a large image, must start within this time, in ms. */
const START_SLOW_MS = 300_000;
/** How often a starting attempt is planned again, in ms, in addition to pod events. */
const START_POLL_MS = 2000;

export function planAttempt(builder: PlanBuilder, observed: Observed, attempt: Attempt): void {
  const claim = findClaim(builder.incident, attempt);
  if (claim !== undefined) {
    builder.endAttempt('Claimed', `the agent says: ${claim.outcome}: ${claim.summary}`);
    builder.note('Normal', 'RepairClaimed', `attempt ${attempt.number}: ${claim.outcome}: ${claim.summary}`);
    builder.progress('Verifying', 'Verifying', 'the agent has ended; verifying its claim');
    builder.requeueNow();
    return;
  }
  const limit = reachedLimit(builder.withUsage, builder.now);
  if (limit !== undefined) {
    builder.endAttempt('LimitReached', limit);
    builder.requeueNow();
    return;
  }
  if (builder.status.limits !== undefined && builder.status.startTime !== undefined) {
    builder.requeueAfter(builder.status.limits.timeoutSeconds * 1000 - builder.since(builder.status.startTime));
  }
  if (attempt.podUID === undefined) planPodless(builder, observed, attempt);
  else planPod(builder, observed.pod?.uid === attempt.podUID ? observed.pod : undefined, attempt);
}

/** Plans an attempt without a recorded pod: its start was interrupted, or something refused it. */
function planPodless(builder: PlanBuilder, observed: Observed, attempt: Attempt): void {
  const learned = observed.learned?.attempt === attempt.number ? observed.learned : undefined;
  if (learned?.podUID !== undefined) {
    builder.recordPod(attempt.number, learned.podUID);
    builder.requeueAfter(START_POLL_MS);
    return;
  }
  const age = builder.since(attempt.startTime);
  const problem =
    observed.agentClass === undefined
      ? `AgentClass ${builder.incident.spec.agentClassName} no longer exists`
      : observed.startProblem;
  if (age >= START_TROUBLE_MS) {
    startFailed(builder, problem ?? 'the pod could not be created in time');
    return;
  }
  if (problem !== undefined) {
    builder.progress('Running', 'AttemptStarting', `attempt ${attempt.number} cannot start yet: ${problem}`);
  }
  builder.requeueAfter(Math.min(START_POLL_MS, START_TROUBLE_MS - age));
  if (observed.agentClass !== undefined) {
    addStartActions(builder, attempt.number, observed.agentClass, learned?.firstObservation);
  }
}

/**
 * Adds the actions that remain until the attempt has its pod. The baseline is recorded before the
 * first pod exists; after that, a baseline would contain the agent's own changes.
 */
export function addStartActions(
  builder: PlanBuilder,
  attempt: number,
  agentClass: AgentClass,
  firstObservation?: Learned['firstObservation'],
): void {
  const needsBaseline =
    builder.status.baseline === undefined && !builder.status.attempts?.some(({ podUID }) => podUID !== undefined);
  if (needsBaseline && firstObservation !== undefined) builder.change(firstObservation);
  // This process observed the baseline a moment ago, so the account and its bindings exist.
  else builder.addAction({ type: 'prepare-attempt', attempt, agentClass });
  if (needsBaseline && firstObservation === undefined) builder.addAction({ type: 'observe-baseline', attempt });
  else builder.addAction({ type: 'create-pod', attempt, agentClass });
}

function planPod(builder: PlanBuilder, pod: PodView | undefined, attempt: Attempt): void {
  if (pod === undefined) {
    interrupted(builder, `pod ${attempt.podName} is gone`);
    return;
  }
  if (pod.state.type === 'ended' && pod.state.report !== undefined) {
    agentReported(builder, attempt, pod.state.report);
    return;
  }
  if (pod.state.type === 'ended') {
    interrupted(builder, pod.state.completed ? `${pod.state.message} without a conclusion` : pod.state.message);
    return;
  }
  if (pod.deleting) {
    interrupted(builder, `pod ${attempt.podName} was deleted or evicted`);
    return;
  }
  if (pod.state.type === 'running') {
    builder.condition({
      type: 'AgentRunning',
      status: 'True',
      reason: 'PodRunning',
      message: `pod ${attempt.podName}`,
    });
    builder.progress('Running', 'AgentRunning', `attempt ${attempt.number}: the agent is working`);
    return;
  }
  const age = builder.since(attempt.startTime);
  const { problem } = pod.state;
  if (age >= (problem === undefined ? START_SLOW_MS : START_TROUBLE_MS)) {
    startFailed(builder, problem ?? `the pod did not start within ${START_SLOW_MS / 1000} s`);
    return;
  }
  const detail = problem === undefined ? '' : `: ${problem}`;
  builder.condition({
    type: 'AgentRunning',
    status: 'False',
    reason: 'Starting',
    message: `pod ${attempt.podName}${detail}`,
  });
  builder.progress('Running', 'AttemptStarting', `attempt ${attempt.number}: the pod is starting${detail}`);
  builder.requeueAfter(START_POLL_MS);
}

function startFailed(builder: PlanBuilder, message: string): void {
  builder.endAttempt('StartFailed', message);
  builder.requeueNow();
}

/** Ends the attempt with what the agent says about its end. A final report also ends the Incident. */
function agentReported(builder: PlanBuilder, attempt: Attempt, report: AgentReport): void {
  if (!isFinalReport(report)) {
    interrupted(builder, `the agent ended without a claim: ${report.message}`);
    return;
  }
  const message = `${report.code}: ${report.message}`;
  builder.endAttempt('ModelFailed', message, report.refusal);
  builder.note('Warning', 'ModelFailed', `attempt ${attempt.number}: ${message}`);
  builder.requeueNow();
}

function interrupted(builder: PlanBuilder, message: string): void {
  builder.endAttempt('Interrupted', message);
  builder.requeueNow();
}
