// A live attempt: is it starting, working, or over? Pure.

import type { Attempt } from '../../api/incident.ts';
import type { Draft, Observed } from './draft.ts';
import type { PodView } from './pod-state.ts';
import { spentLimit } from './spent-limit.ts';
import { claimOf } from './status.ts';

/** A pod that something hinders from starting has this long to overcome it, in ms. */
const START_TROUBLE_MS = 60_000;
/** A pod that merely takes its time (a large image on a slow line) has this long, in ms. */
const START_SLOW_MS = 300_000;
/** How often a start is looked at, in ms; pod events come besides. */
const START_POLL_MS = 2000;

export function planAttempt(draft: Draft, observed: Observed, attempt: Attempt): void {
  const claim = claimOf(draft.incident, attempt);
  if (claim !== undefined) {
    draft.endAttempt('Claimed', `the agent says: ${claim.outcome}: ${claim.summary}`);
    draft.note('Normal', 'RepairClaimed', `attempt ${attempt.number}: ${claim.outcome}: ${claim.summary}`);
    draft.progress('Verifying', 'Verifying', 'the agent has ended; the checks decide');
    draft.wake(1);
    return;
  }
  const spent = spentLimit(draft);
  if (spent !== undefined) {
    draft.endAttempt('LimitReached', spent);
    draft.wake(1);
    return;
  }
  if (draft.status.limits !== undefined && draft.status.startTime !== undefined) {
    draft.wake(draft.status.limits.timeoutSeconds * 1000 - draft.since(draft.status.startTime));
  }
  if (attempt.podUID === undefined) planPodless(draft, observed, attempt);
  else planPod(draft, observed.pod?.uid === attempt.podUID ? observed.pod : undefined, attempt);
}

/** The attempt is on record, its pod is not (yet): somebody was interrupted, or the API server refuses something. */
function planPodless(draft: Draft, observed: Observed, attempt: Attempt): void {
  const age = draft.since(attempt.startTime);
  const problem =
    observed.agentClass === undefined
      ? `AgentClass ${draft.incident.spec.agentClassName} does not exist any more`
      : observed.startProblem;
  if (age >= START_TROUBLE_MS) {
    startFailed(draft, problem ?? 'the pod could not be created in time');
    return;
  }
  if (problem !== undefined) {
    draft.progress('Running', 'AttemptStarting', `attempt ${attempt.number} cannot start yet: ${problem}`);
  }
  draft.wake(Math.min(START_POLL_MS, START_TROUBLE_MS - age));
  if (observed.agentClass !== undefined) {
    draft.act({ type: 'start-attempt', attempt: attempt.number, agentClass: observed.agentClass });
  }
}

function planPod(draft: Draft, pod: PodView | undefined, attempt: Attempt): void {
  if (pod === undefined) {
    interrupted(draft, `pod ${attempt.podName} is gone`);
    return;
  }
  if (pod.state.type === 'ended') {
    interrupted(draft, pod.state.completed ? `${pod.state.message} without a conclusion` : pod.state.message);
    return;
  }
  if (pod.deleting) {
    interrupted(draft, `pod ${attempt.podName} was deleted or evicted`);
    return;
  }
  if (pod.state.type === 'running') {
    draft.condition({ type: 'AgentRunning', status: 'True', reason: 'PodRunning', message: `pod ${attempt.podName}` });
    draft.progress('Running', 'AgentRunning', `attempt ${attempt.number}: the agent works`);
    return;
  }
  const age = draft.since(attempt.startTime);
  const { problem } = pod.state;
  if (age >= (problem === undefined ? START_SLOW_MS : START_TROUBLE_MS)) {
    startFailed(draft, problem ?? `the pod did not start within ${START_SLOW_MS / 1000} s`);
    return;
  }
  const detail = problem === undefined ? '' : `: ${problem}`;
  draft.condition({
    type: 'AgentRunning',
    status: 'False',
    reason: 'Starting',
    message: `pod ${attempt.podName}${detail}`,
  });
  draft.progress('Running', 'AttemptStarting', `attempt ${attempt.number}: the pod starts${detail}`);
  draft.wake(START_POLL_MS);
}

function startFailed(draft: Draft, message: string): void {
  draft.endAttempt('StartFailed', message);
  draft.wake(1);
}

function interrupted(draft: Draft, message: string): void {
  draft.endAttempt('Interrupted', message);
  draft.wake(1);
}
