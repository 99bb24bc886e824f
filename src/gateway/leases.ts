// The lease: whether the pod of an attempt may act now. A pure decision based on the Incident, the
// pod, the budget and the clock.

import { CONDITIONS, type Incident, listTargetNamespaces, sessionId } from '../api/incident.ts';
import type { Attempt, ClassSnapshot } from '../api/incident-status.ts';
import type { Limits } from '../api/limits.ts';
import { findCondition, isTrue } from '../api/meta.ts';
import { LimitReached, NoLease, NoLeaseYet } from '../errors.ts';

export type Limit = LimitReached['limit'];

/** The sentence that says which limit is reached. */
export function describeLimit(limit: Limit): string {
  return limit === 'day'
    ? "the daily quota of the Incident's AgentClass is reached"
    : `the Incident's limit of ${limit} is reached`;
}

/** The Incident, the attempt and the class on whose behalf a pod may act. */
export interface Lease {
  readonly session: string;
  readonly incident: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly attempt: number;
  readonly podName: string;
  readonly podUID: string;
  readonly serviceAccountName: string;
  readonly class: ClassSnapshot;
  readonly targetNamespaces: readonly string[];
  readonly limits: Limits;
  /** The time when the lease ends, in epoch milliseconds. */
  readonly deadline: number;
}

/**
 * - `live`: all doors are open.
 * - `reached`: a limit is reached. Only entries and the claim may still be recorded.
 * - `pending`: the lease does not exist yet. Ask again in a moment.
 * - `dead`: the lease has ended permanently.
 */
export type LeaseDecision =
  | { readonly state: 'live'; readonly lease: Lease }
  | { readonly state: 'reached'; readonly lease: Lease; readonly limit: Limit }
  | { readonly state: 'pending'; readonly message: string }
  | { readonly state: 'dead'; readonly message: string };

/**
 * What the caller wants to do.
 * - `act`: start, call the model, or access Kubernetes or Docker. Needs a live lease.
 * - `report`: record entries and conclude. Also possible after a limit is reached.
 */
export type Purpose = 'act' | 'report';

/**
 * The lease, if the decision permits the purpose.
 * @throws NoLease (final), NoLeaseYet (retry), LimitReached (final)
 */
export function requireLease(decision: LeaseDecision, purpose: Purpose): Lease {
  switch (decision.state) {
    case 'live':
      return decision.lease;
    case 'reached':
      if (purpose === 'report') return decision.lease;
      throw new LimitReached(decision.limit, describeLimit(decision.limit));
    case 'pending':
      throw new NoLeaseYet(decision.message);
    case 'dead':
      throw new NoLease(decision.message);
  }
}

/** Reasons of the AuditSealed condition that end the session. */
const SEAL_REASONS: readonly string[] = ['SealRequested', 'GatewayUnavailable', 'AuditBroken'];

/**
 * Whether the controller has decided how the Incident ends and waits for the seal, or gave up
 * waiting.
 */
export function sealRequested(incident: Incident): boolean {
  const condition = findCondition(incident.status?.conditions, CONDITIONS.AuditSealed);
  return condition?.status === 'False' && SEAL_REASONS.includes(condition.reason);
}

/**
 * The time when the time limit is reached, in epoch milliseconds; undefined before the first
 * attempt.
 */
export function readDeadline(incident: Incident): number | undefined {
  const { startTime, limits } = incident.status ?? {};
  return startTime === undefined || limits === undefined
    ? undefined
    : Date.parse(startTime) + limits.timeoutSeconds * 1000;
}

/** The attempt with the highest number. */
export function currentAttempt(incident: Incident): Attempt | undefined {
  let last: Attempt | undefined;
  for (const attempt of incident.status?.attempts ?? []) {
    if (last === undefined || attempt.number > last.number) last = attempt;
  }
  return last;
}

/** Whether an attempt may still go on, in whichever pod. */
export function isAttemptOpen(incident: Incident | undefined, attempt: number): boolean {
  if (incident === undefined || incident.metadata.deletionTimestamp !== undefined || incident.spec.cancel) return false;
  if (isTrue(incident.status?.conditions, CONDITIONS.Finished) || sealRequested(incident)) return false;
  if (isTrue(incident.status?.conditions, CONDITIONS.AuditSealed)) return false;
  const current = currentAttempt(incident);
  return current?.number === attempt && current.endTime === undefined;
}

/**
 * Decides on the lease of a pod that claims to belong to attempt `attempt`.
 * @param limitReached the limit that the loaded budget has reached; the status may show another one
 * @param now epoch milliseconds
 */
export function leaseFor(
  incident: Incident | undefined,
  attempt: number,
  podUID: string,
  limitReached: Limit | undefined,
  now: number,
): LeaseDecision {
  const dead = (message: string): LeaseDecision => ({ state: 'dead', message });
  const pending = (message: string): LeaseDecision => ({ state: 'pending', message });
  if (incident === undefined) return dead('the Incident no longer exists');
  const { metadata, spec, status } = incident;
  if (metadata.deletionTimestamp !== undefined) return dead('the Incident is being deleted');
  if (spec.cancel) return dead('the Incident is cancelled');
  if (isTrue(status?.conditions, CONDITIONS.Finished)) return dead('the Incident is finished');
  if (sealRequested(incident) || isTrue(status?.conditions, CONDITIONS.AuditSealed)) {
    return dead('the Incident is ending and its session is sealed');
  }
  const explained = findCondition(status?.conditions, CONDITIONS.WritesExplained);
  if (explained?.status === 'False') return dead(`${explained.reason}: ${explained.message}`);
  const current = currentAttempt(incident);
  const deadline = readDeadline(incident);
  if (current === undefined || deadline === undefined || status?.limits === undefined) {
    return pending('no attempt has started yet');
  }
  if (attempt < current.number) return dead(`attempt ${current.number} has taken over`);
  if (attempt > current.number) return pending(`attempt ${attempt} is not in the Incident's status yet`);
  if (current.endTime !== undefined)
    return dead(`attempt ${attempt} has ended${current.reason === undefined ? '' : `: ${current.reason}`}`);
  if (current.podUID === undefined) return pending("the pod is not in the Incident's status yet");
  if (current.podUID !== podUID) return dead(`this pod does not belong to attempt ${attempt}`);
  const lease: Lease = {
    session: sessionId(incident),
    incident: { namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid },
    attempt,
    podName: current.podName,
    podUID,
    serviceAccountName: current.serviceAccountName,
    class: current.class,
    targetNamespaces: listTargetNamespaces(incident),
    limits: status.limits,
    deadline,
  };
  const limit = limitReached ?? status.usage?.limitReached ?? (now >= deadline ? 'time' : undefined);
  return limit === undefined ? { state: 'live', lease } : { state: 'reached', lease, limit };
}
