// Which limit of an Incident is reached, if any. Pure; turns, tokens and cost are the gateway's to count.

import type { PlanBuilder } from './plan-builder.ts';

/** One sentence about the limit that is reached; undefined while there is something left. */
export function reachedLimit(builder: PlanBuilder): string | undefined {
  const { limits, startTime } = builder.status;
  if (limits === undefined) return undefined;
  if (startTime !== undefined && builder.since(startTime) >= limits.timeoutSeconds * 1000) {
    return `the time limit of ${limits.timeoutSeconds} s is reached`;
  }
  switch (builder.incident.status?.usage?.limitReached) {
    case 'time':
      return `the time limit of ${limits.timeoutSeconds} s is reached`;
    case 'turns':
      return `the limit of ${limits.maxTurns} turns is reached`;
    case 'tokens':
      return `the limit of ${limits.maxTokens} tokens is reached`;
    case 'cost':
      return `the cost limit of ${limits.maxCostMilliUSD} thousandths of a US dollar is reached`;
    default:
      return undefined;
  }
}
