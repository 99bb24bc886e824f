// Plans an Incident: its whole life cycle as one pure function of what was observed.

import { FINALIZER } from '../../api/group.ts';
import { CONDITIONS, type Incident } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { acceptance } from './acceptance.ts';
import { planAttempt } from './plan-attempt.ts';
import { type Observed, type Plan, PlanBuilder } from './plan-builder.ts';
import { planBreach, planSealing, requestEnd, sealLate } from './plan-end.ts';
import { accept, findEscalation, planNextAttempt } from './plan-start.ts';
import { planVerification } from './plan-verification.ts';
import { decidedEnd, findBreach, findClaim, liveAttempt } from './status.ts';

/**
 * Plans what to do about an Incident now. The same state gives the same plan, so a controller that
 * takes over after a crash at any point reads the state and continues.
 */
export function plan(incident: Incident, observed: Observed, now: Date): Plan {
  const builder = new PlanBuilder(incident, now);
  const hasFinalizer = incident.metadata.finalizers?.includes(FINALIZER) ?? false;

  if (incident.metadata.deletionTimestamp !== undefined) {
    if (hasFinalizer) {
      // For the audit log, which outlives the object.
      if (liveAttempt(builder.status) !== undefined) builder.endAttempt('Deleted', 'the Incident was deleted');
      builder.addAction({ type: 'clean-incident' });
      builder.addAction({ type: 'remove-finalizer' });
    }
    return builder.finish();
  }
  if (isTrue(incident.status?.conditions, CONDITIONS.Finished)) {
    sealLate(builder);
    if (hasFinalizer) builder.addAction({ type: 'remove-finalizer' });
    return builder.finish();
  }
  if (!hasFinalizer) builder.addAction({ type: 'add-finalizer' });
  if (decidedEnd(incident.status) !== undefined) {
    planSealing(builder, observed);
    return builder.finish();
  }
  if (incident.spec.cancel) {
    if (liveAttempt(builder.status) !== undefined) builder.endAttempt('Cancelled', 'the Incident was cancelled');
    builder.note('Normal', 'Cancelled', 'cancelled by spec.cancel');
    requestEnd(builder, 'Cancelled', 'Cancelled', 'cancelled by spec.cancel');
    return builder.finish();
  }

  const breach = findBreach(incident.status);
  if (breach !== undefined) {
    planBreach(builder, observed, breach);
    return builder.finish();
  }

  const live = liveAttempt(builder.status);
  if (live !== undefined) {
    planAttempt(builder, observed, live);
    return builder.finish();
  }
  const last = builder.status.attempts?.at(-1);
  if (last !== undefined && !observed.cleaned.has(`attempt-${last.number}`)) {
    builder.addAction({ type: 'clean-attempt', attempt: last.number });
  }
  const claim = findClaim(incident, last);
  if (last?.reason === 'Claimed' && claim !== undefined) {
    planVerification(builder, observed, claim);
    return builder.finish();
  }

  const clearedTime = clearedBeforeStart(incident);
  if (clearedTime !== undefined) {
    requestEnd(builder, 'Resolved', 'AlarmCleared', `the alarm cleared at ${clearedTime}, before an agent started`);
    return builder.finish();
  }

  const accepted = acceptance(incident, observed.agentClass, observed.syntaxErrors, observed.ownNamespaces);
  accept(builder, accepted);
  if (accepted.type === 'refused') requestEnd(builder, 'Failed', accepted.reason, accepted.message);
  else planNextAttempt(builder, observed, accepted);
  return builder.finish();
}

/**
 * When the alarm cleared, if no agent was ever started and the Incident is not suspended; else
 * undefined. After an agent has started, only its claim and the checks decide, because an alarm may
 * clear in the middle of a repair.
 */
function clearedBeforeStart(incident: Incident): string | undefined {
  const { alarm, attempts } = incident.status ?? {};
  if (incident.spec.suspend || (attempts?.length ?? 0) > 0 || alarm?.state !== 'Cleared') return undefined;
  return alarm.clearedTime;
}

/** Whether the plan needs an observation: to verify a claim, or for a hand-over. Pure. */
export function needsObservation(incident: Incident, now: Date): boolean {
  if (incident.metadata.deletionTimestamp !== undefined || incident.spec.cancel) return false;
  if (findCondition(incident.status?.conditions, CONDITIONS.Finished) !== undefined) return false;
  const { status } = incident;
  const last = status?.attempts?.at(-1);
  if (findBreach(status) !== undefined) return liveAttempt(status) === undefined && !incident.spec.suspend;
  if (status === undefined || last?.endTime === undefined) return false;
  const outcome = last.reason === 'Claimed' ? findClaim(incident, last)?.outcome : undefined;
  if (outcome !== undefined && outcome !== 'CannotFix') return true;
  return !incident.spec.suspend && (outcome === 'CannotFix' || findEscalation(status, now) !== undefined);
}
