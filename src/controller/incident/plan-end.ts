// Plans the end of an Incident: decide it, wait for the gateway to seal the log, finish. Pure.

import { CONDITIONS } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { truncate } from '../../api/truncate.ts';
import { nextResults } from '../../checks/soak.ts';
import { buildHandover, handoverNote } from './handover.ts';
import type { Observed, PlanBuilder } from './plan-builder.ts';
import {
  type Breach,
  decidedEnd,
  type EndReason,
  type FinalPhase,
  findBreach,
  liveAttempt,
  SEAL_REQUESTED,
} from './status.ts';

const ESCALATED: FinalPhase = 'Escalated';

/** How long an Incident waits for the gateway to seal its log before it finishes anyway, in ms. */
const SEAL_WAIT_MS = 60_000;

/**
 * Decides the end, asks the gateway to seal the log, and deletes everything made for the Incident.
 * A suspended Incident does not end by itself: it reports its would-be end, and waits.
 */
export function requestEnd(builder: PlanBuilder, phase: FinalPhase, reason: EndReason, message: string): void {
  const { spec } = builder.incident;
  if (spec.suspend && phase !== 'Cancelled') {
    builder.progress(
      builder.status.phase === 'Verifying' ? 'Verifying' : 'Pending',
      'Suspended',
      `suspended; otherwise it would be ${phase}: ${message}`,
    );
    return;
  }
  builder.condition({ type: 'AuditSealed', status: 'False', reason: SEAL_REQUESTED, message: phase });
  builder.condition({ type: 'Finished', status: 'False', reason, message });
  builder.change({ message: `${phase}: ${message}` });
  builder.condition({
    type: 'Reconciling',
    status: 'True',
    reason: 'Sealing',
    message: 'the audit log is being sealed',
  });
  builder.addAction({ type: 'clean-incident' });
  builder.requeueAfter(SEAL_WAIT_MS);
}

/**
 * Records an observation for the hand-over, which shows the current state, not the baseline.
 * False while the observation is missing. A suspended Incident ends later, and is observed then.
 */
export function isObservedBeforeHandover(builder: PlanBuilder, observed: Observed): boolean {
  if (builder.incident.spec.suspend) return true;
  if (observed.observation === undefined) {
    builder.requeueNow();
    return false;
  }
  builder.change({ verification: nextResults(builder.status.verification, observed.observation.observations) });
  return true;
}

/**
 * Ends an Incident in which something happened that no repair needs, whatever its agent claims and
 * its checks show. The lease has ended already.
 */
export function planBreach(builder: PlanBuilder, observed: Observed, { reason, message }: Breach): void {
  if (liveAttempt(builder.status) !== undefined) {
    builder.endAttempt(reason, message);
    builder.requeueNow();
    return;
  }
  if (isObservedBeforeHandover(builder, observed)) requestEnd(builder, 'Escalated', reason, message);
}

/** Waits for the seal, then finishes the Incident. */
export function planSealing(builder: PlanBuilder, observed: Observed): void {
  const decided = decidedEnd(builder.status);
  if (decided === undefined) return;
  const breach = findBreach(builder.incident.status);
  // The breach may have been found after the end was decided.
  const end =
    breach !== undefined && decided.phase === 'Resolved' ? { ...decided, phase: ESCALATED, ...breach } : decided;
  // A finished Incident has neither pods nor role bindings left.
  if (!observed.cleaned.has('incident')) {
    builder.addAction({ type: 'clean-incident' });
    builder.requeueNow();
    return;
  }
  const head = builder.incident.status?.audit?.finalHeadHash;
  const waited = builder.since(end.since);
  // The gateway does not seal a log that contradicts the status.
  const isBroken = breach?.reason === 'AuditBroken';
  if (head === undefined && !isBroken && waited < SEAL_WAIT_MS) {
    builder.requeueAfter(SEAL_WAIT_MS - waited);
    return;
  }
  if (head !== undefined) seal(builder, head);
  else if (isBroken) {
    builder.condition({
      type: 'AuditSealed',
      status: 'False',
      reason: 'AuditBroken',
      message: 'the log contradicts the status, so the gateway does not seal it',
    });
  } else {
    builder.condition({
      type: 'AuditSealed',
      status: 'False',
      reason: 'GatewayUnavailable',
      message: `the gateway did not seal the log within ${SEAL_WAIT_MS / 1000} s; it will do so when it is available again`,
    });
  }
  const verified = isTrue(builder.status.conditions, CONDITIONS.Verified);
  const claimed = isTrue(builder.incident.status?.conditions, CONDITIONS.RepairClaimed);
  const succeeded = end.phase === 'Resolved' && verified && claimed;
  if (end.phase === 'Escalated') {
    const handover = buildHandover(builder.incident, end.reason);
    builder.change({ handover });
    builder.note('Warning', 'HandedOver', handoverNote(handover, builder.incident));
  }
  builder.change({
    phase: end.phase,
    finishTime: builder.time,
    message: truncate(`${end.phase}: ${end.message}`, 4096),
  });
  builder.condition({ type: 'Finished', status: 'True', reason: end.phase, message: end.message });
  builder.condition({
    type: 'Succeeded',
    status: succeeded ? 'True' : 'False',
    reason: end.reason,
    message: end.message,
  });
  builder.condition({ type: 'Reconciling', status: 'False', reason: 'Finished' });
  builder.condition({
    type: 'Stalled',
    status: end.phase === 'Failed' ? 'True' : 'False',
    reason: end.phase === 'Failed' ? end.reason : 'Finished',
    message: end.phase === 'Failed' ? end.message : '',
  });
  const isQuiet = succeeded || end.phase === 'Cancelled' || end.reason === 'AlarmCleared';
  builder.note(isQuiet ? 'Normal' : 'Warning', end.phase, end.message);
  builder.addAction({ type: 'remove-finalizer' });
}

/** Records the seal of a gateway that was unavailable when the Incident finished. */
export function sealLate(builder: PlanBuilder): void {
  const head = builder.incident.status?.audit?.finalHeadHash;
  if (head === undefined || builder.status.audit?.sealedHeadHash !== undefined) return;
  if (findCondition(builder.status.conditions, CONDITIONS.AuditSealed) === undefined) return;
  seal(builder, head);
}

function seal(builder: PlanBuilder, head: string): void {
  builder.change({ audit: { sealedHeadHash: head } });
  builder.condition({ type: 'AuditSealed', status: 'True', reason: 'Sealed', message: `head ${head}` });
}
