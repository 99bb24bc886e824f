// Finds the reached limit of an Incident, if any. The gateway counts turns, tokens and cost. Pure.

import type { IncidentStatus } from '../../api/incident-status.ts';

/** The parts of a status that decide whether a limit is reached. */
export type LimitFacts = Pick<IncidentStatus, 'limits' | 'startTime' | 'usage'>;

/** Describes the limit that is reached; undefined while none is. */
export function reachedLimit({ limits, startTime, usage }: LimitFacts, now: Date): string | undefined {
  if (limits === undefined) return undefined;
  if (startTime !== undefined && now.getTime() - Date.parse(startTime) >= limits.timeoutSeconds * 1000) {
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
    default:
      return undefined;
  }
}
