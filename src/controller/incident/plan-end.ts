// The end of an Incident: decided, sealed by the gateway, then finished. Pure.

import { CONDITIONS } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { nextResults } from '../../checks/soak.ts';
import type { Draft, Observed } from './draft.ts';
import { handoverNote, handoverOf } from './handover.ts';
import { decidedEnd, type EndReason, type FinalPhase, SEAL_REQUESTED } from './status.ts';

/** The gateway has this long to seal the log before the Incident finishes without it, in ms. */
const SEAL_WAIT_MS = 60_000;

/**
 * Decides the end and asks the gateway to seal the log. Everything that was made for the Incident goes.
 * A suspended Incident does not close by itself: it says what it would do, and waits.
 */
export function decide(draft: Draft, phase: FinalPhase, reason: EndReason, message: string): void {
  const { spec } = draft.incident;
  if (spec.suspend && phase !== 'Cancelled') {
    draft.progress(
      draft.status.phase === 'Verifying' ? 'Verifying' : 'Pending',
      'Suspended',
      `suspended; it would be ${phase}: ${message}`,
    );
    return;
  }
  draft.condition({ type: 'AuditSealed', status: 'False', reason: SEAL_REQUESTED, message: phase });
  draft.condition({ type: 'Finished', status: 'False', reason, message });
  draft.change({ message: `${phase}: ${message}` });
  draft.condition({ type: 'Reconciling', status: 'True', reason: 'Sealing', message: 'the audit log is being sealed' });
  draft.act({ type: 'clean-incident' });
  draft.wake(SEAL_WAIT_MS);
}

/**
 * Whoever takes over wants to know how things stand now, not before the first command: asks for a look and keeps what it shows.
 * False while it is outstanding; a suspended Incident ends later, and is looked at then.
 */
export function lookedBeforeHandover(draft: Draft, observed: Observed): boolean {
  if (draft.incident.spec.suspend) return true;
  if (observed.look === undefined) {
    draft.wake(1);
    return false;
  }
  draft.change({ verification: nextResults(draft.status.verification, observed.look.observations) });
  return true;
}

/** Waits for the seal, then finishes. */
export function planSealing(draft: Draft, observed: Observed): void {
  const end = decidedEnd(draft.status);
  if (end === undefined) return;
  // Finished means that nothing is left: no pod, no rights.
  if (!observed.cleaned.has('incident')) {
    draft.act({ type: 'clean-incident' });
    draft.wake(1);
    return;
  }
  const head = draft.incident.status?.audit?.finalHeadHash;
  const waited = draft.since(end.since);
  if (head === undefined && waited < SEAL_WAIT_MS) {
    draft.wake(SEAL_WAIT_MS - waited);
    return;
  }
  if (head !== undefined) seal(draft, head);
  else {
    draft.condition({
      type: 'AuditSealed',
      status: 'False',
      reason: 'GatewayUnavailable',
      message: `the gateway did not seal the log within ${SEAL_WAIT_MS / 1000} s; it will when it is back`,
    });
  }
  const verified = isTrue(draft.status.conditions, CONDITIONS.Verified);
  const claimed = isTrue(draft.incident.status?.conditions, CONDITIONS.RepairClaimed);
  const succeeded = end.phase === 'Resolved' && verified && claimed;
  if (end.phase === 'Escalated') {
    const handover = handoverOf(draft.incident, end.reason);
    draft.change({ handover });
    draft.note('Warning', 'HandedOver', handoverNote(handover));
  }
  draft.change({ phase: end.phase, finishTime: draft.time, message: `${end.phase}: ${end.message}`.slice(0, 4096) });
  draft.condition({ type: 'Finished', status: 'True', reason: end.phase, message: end.message });
  draft.condition({
    type: 'Succeeded',
    status: succeeded ? 'True' : 'False',
    reason: end.reason,
    message: end.message,
  });
  draft.condition({ type: 'Reconciling', status: 'False', reason: 'Finished' });
  draft.condition({
    type: 'Stalled',
    status: end.phase === 'Failed' ? 'True' : 'False',
    reason: end.phase === 'Failed' ? end.reason : 'Finished',
    message: end.phase === 'Failed' ? end.message : '',
  });
  const isQuiet = succeeded || end.phase === 'Cancelled' || end.reason === 'AlarmCleared';
  draft.note(isQuiet ? 'Normal' : 'Warning', end.phase, end.message);
  draft.act({ type: 'remove-finalizer' });
}

/** A gateway that was away has come back and sealed the log of a finished Incident. */
export function sealLate(draft: Draft): void {
  const head = draft.incident.status?.audit?.finalHeadHash;
  if (head === undefined || draft.status.audit?.sealedHeadHash !== undefined) return;
  if (findCondition(draft.status.conditions, CONDITIONS.AuditSealed) === undefined) return;
  seal(draft, head);
}

function seal(draft: Draft, head: string): void {
  draft.change({ audit: { sealedHeadHash: head } });
  draft.condition({ type: 'AuditSealed', status: 'True', reason: 'Sealed', message: `head ${head}` });
}
