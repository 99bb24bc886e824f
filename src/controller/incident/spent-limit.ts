// Which limit of an Incident is spent, if any. Pure; turns, tokens and cost are the gateway's to count.

import type { Draft } from './draft.ts';

/** One sentence about the limit that is spent; undefined while there is something left. */
export function spentLimit(draft: Draft): string | undefined {
  const { limits, startTime } = draft.status;
  if (limits === undefined) return undefined;
  if (startTime !== undefined && draft.since(startTime) >= limits.timeoutSeconds * 1000) {
    return `the time limit of ${limits.timeoutSeconds} s is reached`;
  }
  switch (draft.incident.status?.usage?.exhausted) {
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
