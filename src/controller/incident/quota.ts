// The quota of a class: whether an Incident has to wait until others end or the next day begins.
// Pure.

import type { AgentClass } from '../../api/agent-class.ts';
import { type Incident, originName } from '../../api/incident.ts';
import { currentDayLimit, nextUtcDay, resolveQuota } from '../../api/quota.ts';
import { compareInQueue, isWaiting, isWorking, type QuotaReason } from './queue.ts';

/** Why an Incident waits although its targets may be free. */
export interface QuotaHold {
  readonly reason: QuotaReason;
  readonly message: string;
  /** When the hold ends at the latest, in epoch milliseconds. */
  readonly untilMs?: number;
}

/**
 * Finds what holds the Incident back; undefined if nothing does. Of those that wait, the first in
 * the queue go first: by severity, then age.
 * @param starting UIDs of Incidents whose start was just written, and may be missing in `all`
 */
export function findQuotaHold(
  incident: Incident,
  agentClass: AgentClass | undefined,
  { all, starting, now }: { all: readonly Incident[]; starting: ReadonlySet<string>; now: Date },
): QuotaHold | undefined {
  if (agentClass === undefined || isWorking(incident)) return undefined;
  const { name, generation } = agentClass.metadata;
  const quota = resolveQuota(agentClass.spec.quota);
  const day = agentClass.status?.day;
  const limit = currentDayLimit(day, generation, now.getTime());
  if (day !== undefined && limit !== undefined) {
    const untilMs = nextUtcDay(now.getTime());
    const field = limit === 'cost' ? 'maxCostMilliUSDPerDay' : 'maxTokensPerDay';
    return {
      reason: 'DayLimitReached',
      message: `AgentClass ${name} has reached its limit on ${limit === 'cost' ? 'the cost' : 'the tokens'} of a day (spec.quota.${field}: ${quota[field]}); waiting until ${new Date(untilMs).toISOString()}, or until the limit is raised`,
      untilMs,
    };
  }
  const ahead = all.filter(
    (other) =>
      other.metadata.uid !== incident.metadata.uid &&
      other.spec.agentClassName === incident.spec.agentClassName &&
      (starting.has(other.metadata.uid) ||
        isWorking(other) ||
        (isWaiting(other) && compareInQueue(other, incident) < 0)),
  );
  const { namespace } = incident.metadata;
  const inNamespace = ahead.filter((other) => other.metadata.namespace === namespace).length;
  const source = sourceKey(incident);
  const ofSource = ahead.filter((other) => sourceKey(other) === source).length;
  const hold = (what: string, count: number, field: 'maxOpenIncidentsPerNamespace' | 'maxOpenIncidentsPerSource') =>
    count < quota[field]
      ? undefined
      : ({
          reason: 'TooManyOpenIncidents',
          message: `${count} Incidents of AgentClass ${name} ${what} are in progress or earlier in the queue, and spec.quota.${field} allows ${quota[field]} at a time; waiting until one of them ends`,
        } satisfies QuotaHold);
  return (
    hold(`in namespace ${namespace}`, inNamespace, 'maxOpenIncidentsPerNamespace') ??
    hold(`of ${describeSource(incident)}`, ofSource, 'maxOpenIncidentsPerSource')
  );
}

/** A route of the intake serves several namespaces; a Monitor and people belong to one. */
function sourceKey({ spec, metadata }: Incident): string {
  const { source } = spec;
  if (source === undefined) return `people/${metadata.namespace}`;
  const name = originName(source);
  return source.kind === 'Monitor' ? `Monitor/${metadata.namespace}/${name}` : `route/${name}`;
}

function describeSource({ spec, metadata }: Incident): string {
  const { source } = spec;
  if (source === undefined) return `people in namespace ${metadata.namespace}`;
  return source.kind === 'Monitor' ? `Monitor ${source.name}` : `route ${originName(source)} of the intake`;
}
