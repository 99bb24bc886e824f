// The soak: all checks must hold for a time without a break. Pure: observations and times in, state out.

import type { CheckResult, IncidentStatus } from '../api/incident.ts';
import type { Observation } from './observation.ts';

export type Soak = NonNullable<IncidentStatus['soak']>;

/** Longer between two looks than this, and nobody can say that the checks held in between. In milliseconds. */
export const MAX_GAP_MS = 15_000;

/** The new results of all checks: `passingSince` and `baseline` are carried over from the old ones. */
export function nextResults(previous: readonly CheckResult[] | undefined, seen: readonly Observation[]): CheckResult[] {
  return seen.map((now) => {
    const before = previous?.find((result) => result.name === now.name);
    const since = before?.passing ? (before.passingSince ?? now.time) : now.time;
    return {
      name: now.name,
      passing: now.passing,
      ...(now.observed === undefined ? {} : { observed: now.observed }),
      ...(now.error === undefined ? {} : { error: now.error }),
      ...(before?.baseline === undefined ? {} : { baseline: before.baseline }),
      observedTime: now.time,
      ...(now.passing ? { passingSince: since } : {}),
    };
  });
}

/** Results of the look before the first command: what was seen then is kept as the baseline. */
export function baselineResults(seen: readonly Observation[]): CheckResult[] {
  return nextResults(undefined, seen).map((result) => ({
    ...result,
    baseline: result.observed ?? result.error ?? 'nothing was seen',
  }));
}

/**
 * The soak after a look at all checks. A break, and also a gap in which nobody looked, starts it again.
 * @param lastObserved when the checks were looked at before this (RFC 3339); undefined for the first look
 */
export function nextSoak(
  previous: Soak | undefined,
  results: readonly CheckResult[],
  look: { readonly at: string; readonly lastObserved: string | undefined },
): Soak {
  const restarts = previous?.restarts ?? 0;
  const held = previous?.startTime;
  const allPass = results.length > 0 && results.every((result) => result.passing);
  if (!allPass) return { restarts: held === undefined ? restarts : restarts + 1 };
  if (held === undefined) return { startTime: look.at, restarts };
  // This very look has been counted: the same look twice is no gap.
  if (held === look.at) return { startTime: held, restarts };
  const gap =
    look.lastObserved === undefined ? Number.POSITIVE_INFINITY : Date.parse(look.at) - Date.parse(look.lastObserved);
  return gap > MAX_GAP_MS ? { startTime: look.at, restarts: restarts + 1 } : { startTime: held, restarts };
}

/** Whether the checks have held for long enough, as of the last look. */
export function hasSoaked(soak: Soak | undefined, soakSeconds: number, lastObserved: string): boolean {
  return soak?.startTime !== undefined && Date.parse(lastObserved) - Date.parse(soak.startTime) >= soakSeconds * 1000;
}

/** How long after a claim the soak may take to start, in seconds. One that has started then may still finish. */
export function verifyGraceSeconds(soakSeconds: number): number {
  return Math.max(60, 2 * soakSeconds);
}

/** The checks that do not hold, in one sentence each: evidence for the next attempt. */
export function failingEvidence(results: readonly CheckResult[]): string {
  return results
    .filter((result) => !result.passing)
    .map((result) => `${result.name}: ${[result.error, result.observed].filter(Boolean).join('; ') || 'does not hold'}`)
    .join('\n');
}
