// Finds the reached limit of an Incident, if any. The gateway counts turns, tokens and cost. Pure.

import type { IncidentStatus } from '../../api/incident-status.ts';

/** The parts of a status that decide whether a limit is reached. */
export type LimitFacts = Pick<IncidentStatus, 'limits' | 'startTime' | 'usage'>;

/** Whether the time limit is reached. */
export function isTimeUp({ limits, startTime }: Pick<LimitFacts, 'limits' | 'startTime'>, now: Date): boolean {
  if (limits === undefined || startTime === undefined) return false;
  return now.getTime() - Date.parse(startTime) >= limits.timeoutSeconds * 1000;
}

/** Describes the limit that is reached; undefined while none is. */
export function reachedLimit({ limits, startTime, usage }: LimitFacts, now: Date): string | undefined {
  if (limits === undefined) return undefined;
  if (isTimeUp({ limits, startTime }, now)) {
    return `the time limit of ${limits.timeoutSeconds} s is reached`;
  }
  switch (usage?.limitReached) {
    case 'time':
      return `the time limit of ${limits.timeoutSeconds} s is reached`;
    case 'turns':
      return `the limit of ${limits.maxTurns} turns is reached`;
    case 'tokens':
      return `the limit of ${limits.maxTokens} tokens is reached`;
    case 'cost':
      return `the cost limit of ${limits.maxCostMilliUSD} thousandths of a US dollar is reached`;
    case 'record':
      return 'the limit of record is reached: the audit log holds no more of one Incident';
    case 'day':
      return 'the daily quota of the AgentClass is reached';
    default:
      return undefined;
  }
}
