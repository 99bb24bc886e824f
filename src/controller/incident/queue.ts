// The queue for target namespaces: one Incident at a time, by severity, then age, then name. Pure.

import { CONDITIONS, type Incident, listTargetNamespaces, type Severity } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { liveAttempt } from './status.ts';

/** The Incident that another one has to wait for, and the namespace that both target. */
export interface Blocker {
  readonly namespace: string;
  readonly name: string;
  readonly target: string;
  /** True when it works there now; false when it is only earlier in the queue. */
  readonly working: boolean;
}

/** The reasons of Reconciling while the quota of the class holds an Incident back. */
const QUOTA_REASONS = ['DayLimitReached', 'TooManyOpenIncidents'] as const;
export type QuotaReason = (typeof QUOTA_REASONS)[number];

const SEVERITIES: readonly Severity[] = ['critical', 'warning', 'info'];

/**
 * Finds the Incident that has to go before `incident`; undefined when it may start.
 * @param starting UIDs of Incidents whose start was just written, and may be missing in `all`
 */
export function findBlocker(
  incident: Incident,
  all: readonly Incident[],
  starting: ReadonlySet<string> = new Set(),
): Blocker | undefined {
  // It already holds its targets.
  if (isWorking(incident)) return undefined;
  const targets = listTargetNamespaces(incident);
  const rivals = all
    .filter((other) => other.metadata.uid !== incident.metadata.uid)
    .map((other) => ({ other, target: listTargetNamespaces(other).find((target) => targets.includes(target)) }))
    .flatMap(({ other, target }) => (target === undefined ? [] : [{ other, target }]));
  const blocker =
    rivals.find(({ other }) => starting.has(other.metadata.uid) || isWorking(other)) ??
    rivals
      // What its class holds back does not hold up others.
      .filter(({ other }) => isWaiting(other) && !isHeldByQuota(other) && compareInQueue(other, incident) < 0)
      .sort((a, b) => compareInQueue(a.other, b.other))[0];
  if (blocker === undefined) return undefined;
  const { other, target } = blocker;
  const working = starting.has(other.metadata.uid) || isWorking(other);
  return { namespace: other.metadata.namespace ?? '', name: other.metadata.name, target, working };
}

/**
 * Whether it holds its targets: it has an agent, or its claimed repair is being verified or sealed.
 */
export function isWorking(incident: Incident): boolean {
  if (isTrue(incident.status?.conditions, CONDITIONS.Finished)) return false;
  if (liveAttempt(incident.status) !== undefined) return true;
  return incident.status?.attempts?.at(-1)?.reason === 'Claimed' && !incident.spec.suspend;
}

/** Whether it would start an attempt if its targets were free and its class allowed it. */
export function isWaiting(incident: Incident): boolean {
  const { spec, status, metadata } = incident;
  if (metadata.deletionTimestamp !== undefined || spec.suspend || spec.cancel) return false;
  // The condition exists once the end is decided.
  if (findCondition(status?.conditions, CONDITIONS.Finished) !== undefined) return false;
  return isTrue(status?.conditions, CONDITIONS.Accepted);
}

/** Whether the last plan of the Incident found that its class holds it back. */
function isHeldByQuota({ status }: Incident): boolean {
  const reason = findCondition(status?.conditions, CONDITIONS.Reconciling)?.reason;
  return QUOTA_REASONS.some((held) => held === reason);
}

/**
 * Incidents with an attempt come first: a repair left half done is worse than one not yet begun.
 */
export function compareInQueue(a: Incident, b: Incident): number {
  const begun = (incident: Incident) => ((incident.status?.attempts?.length ?? 0) > 0 ? 0 : 1);
  return (
    begun(a) - begun(b) ||
    SEVERITIES.indexOf(a.spec.severity) - SEVERITIES.indexOf(b.spec.severity) ||
    (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
    `${a.metadata.namespace}/${a.metadata.name}`.localeCompare(`${b.metadata.namespace}/${b.metadata.name}`)
  );
}
