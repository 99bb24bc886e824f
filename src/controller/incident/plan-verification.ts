// Plans the verification of a claimed repair: the checks must hold for the whole soak. Pure.

import { BASELINE } from '../../api/check.ts';
import type { CheckResult, Claim } from '../../api/incident-status.ts';
import { truncate } from '../../api/truncate.ts';
import { failingEvidence, hasSoaked, nextResults, nextSoak, verifyGraceSeconds } from '../../checks/soak.ts';
import type { Observed, PlanBuilder } from './plan-builder.ts';
import { isObservedBeforeHandover, requestEnd } from './plan-end.ts';
import { reachedLimit } from './reached-limit.ts';
import type { EndReason } from './status.ts';
import { unconfirmedClaim } from './unconfirmed-claim.ts';

/** The interval between observations, in ms: a failure of one second must not go unnoticed. */
export const OBSERVE_EVERY_MS = 750;
/** Unchanged results are written to status only this often, in ms, to spare the API server. */
const WRITE_EVERY_MS = 8000;

export function planVerification(builder: PlanBuilder, observed: Observed, claim: Claim): void {
  const { spec } = builder.incident;
  if (claim.outcome === 'CannotFix') {
    if (!isObservedBeforeHandover(builder, observed)) return;
    builder.condition({
      type: 'Verified',
      status: 'False',
      reason: 'NotClaimed',
      message: 'the agent could not repair it',
    });
    requestEnd(builder, 'Escalated', 'AgentEscalated', `the agent cannot fix it: ${claim.summary}`);
    return;
  }
  // The agent has ended, so the time limit is the only one that still applies.
  const timeLeft = timeLeftMs(builder);
  if (observed.observation === undefined) {
    builder.requeueNow();
    return;
  }
  const { observations, lastObserved } = observed.observation;
  const at = observations[0]?.time ?? builder.time;
  const before = builder.status.verification;
  const results = nextResults(before, observations);
  const soak = nextSoak(builder.status.soak, results, { at, lastObserved });
  for (const result of results) {
    const previous = before?.find((candidate) => candidate.name === result.name);
    if (!result.passing && previous?.passing)
      builder.note('Warning', 'CheckFailed', truncate(failingEvidence([result]), 1000));
  }
  const restarted = soak.restarts > (builder.status.soak?.restarts ?? 0);
  if (restarted) builder.note('Warning', 'SoakRestarted', `the soak restarted (${soak.restarts} restarts so far)`);
  const soakChanged = soak.startTime !== builder.status.soak?.startTime || restarted;
  if (soakChanged || hasMaterialChange(before, results)) builder.change({ verification: results, soak });

  if (hasSoaked(soak, spec.verify.soakSeconds, at)) {
    builder.change({ verification: results, soak });
    const message = `all checks have held for ${spec.verify.soakSeconds} s`;
    builder.condition({ type: 'Verified', status: 'True', reason: 'ChecksHeld', message });
    builder.note('Normal', 'Verified', message);
    const { reason, text } = describeSuccess(builder, claim);
    requestEnd(builder, 'Resolved', reason, `${message}; ${text}`);
    return;
  }
  if (timeLeft !== undefined && timeLeft <= 0) {
    requestEnd(
      builder,
      'Escalated',
      'LimitReached',
      `${reachedLimit(builder.withUsage, builder.now) ?? 'the time limit is reached'} during verification`,
    );
    return;
  }
  if (timeLeft !== undefined) builder.requeueAfter(timeLeft);
  if (soak.startTime !== undefined) {
    const left = spec.verify.soakSeconds * 1000 - (Date.parse(at) - Date.parse(soak.startTime));
    builder.condition({
      type: 'Verified',
      status: 'False',
      reason: 'Soaking',
      message: `all checks hold; they must hold for ${spec.verify.soakSeconds} s`,
    });
    const until = new Date(Date.parse(soak.startTime) + spec.verify.soakSeconds * 1000).toISOString();
    builder.progress('Verifying', 'Soaking', `all checks hold; the repair is verified at ${until} if they still hold`);
    builder.requeueAfter(Math.min(OBSERVE_EVERY_MS, left));
    return;
  }
  const evidence = failingEvidence(results);
  const broken = results.some(({ name, passing, error }) => name === BASELINE && !passing && error === undefined);
  builder.condition({
    type: 'Verified',
    status: 'False',
    reason: broken ? 'BaselineBroken' : 'ChecksFailing',
    message: truncate(evidence, 4096),
  });
  const graceLeft = verifyGraceSeconds(spec.verify.soakSeconds) * 1000 - builder.since(claim.time);
  if (graceLeft <= 0 && !spec.suspend) {
    builder.change({ verification: results, soak });
    builder.endAttempt('ChecksFailed', unconfirmedClaim(claim, results));
    const failing = results.filter((result) => !result.passing).map((result) => result.name);
    builder.note('Warning', 'ChecksFailed', `the claim was not confirmed; failing: ${failing.join(', ')}`);
    builder.requeueNow();
    return;
  }
  const failing = results.filter((result) => !result.passing).map((result) => result.name);
  builder.progress('Verifying', 'ChecksFailing', `a repair is claimed, but these checks fail: ${failing.join(', ')}`);
  builder.requeueAfter(Math.min(OBSERVE_EVERY_MS, Math.max(1, graceLeft)));
}

/** Why the Incident is resolved. A NothingWrong claim is checked against the gateway's count. */
function describeSuccess(builder: PlanBuilder, claim: Claim): { readonly reason: EndReason; readonly text: string } {
  const statement = `the agent says: ${claim.outcome}: ${claim.summary}`;
  const { changes } = builder.incident.status ?? {};
  // Without the gateway's count it is unknown whether anything was changed.
  if (claim.outcome !== 'NothingWrong' || changes === undefined) return { reason: 'Verified', text: statement };
  if (changes.count === 0) return { reason: 'NothingToRepair', text: `nothing was changed; ${statement}` };
  const last = changes.last.at(-1);
  const writes = changes.count === 1 ? 'a write' : `${changes.count} writes`;
  return {
    reason: 'HealthyButChanged',
    text: `but the gateway has seen ${writes}${last === undefined ? '' : `, the last: ${last.text}`}; ${statement}`,
  };
}

/** Milliseconds left of the time limit; undefined when there is none. */
function timeLeftMs(builder: PlanBuilder): number | undefined {
  const { limits, startTime } = builder.status;
  return limits === undefined || startTime === undefined
    ? undefined
    : limits.timeoutSeconds * 1000 - builder.since(startTime);
}

function hasMaterialChange(before: readonly CheckResult[] | undefined, now: readonly CheckResult[]): boolean {
  return now.some((result) => {
    const previous = before?.find((candidate) => candidate.name === result.name);
    if (previous === undefined || previous.passing !== result.passing) return true;
    return Date.parse(result.observedTime) - Date.parse(previous.observedTime) >= WRITE_EVERY_MS;
  });
}
