// The soak: all checks must hold for a time without interruption. Pure.

import type { CheckResult, IncidentStatus } from '../api/incident-status.ts';
import type { Observation } from './observation.ts';

export type Soak = NonNullable<IncidentStatus['soak']>;

/**
 * After a longer gap between two observations, it is unknown whether the checks held. In
 * milliseconds.
 */
export const MAX_GAP_MS = 15_000;

/**
 * The new results of all checks. They keep `passingSince` and `baseline` of the previous results.
 */
export function nextResults(
  previous: readonly CheckResult[] | undefined,
  observations: readonly Observation[],
): CheckResult[] {
  return observations.map((now) => {
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

/** The results before the first command. What was observed then becomes the baseline. */
export function baselineResults(observations: readonly Observation[]): CheckResult[] {
  return nextResults(undefined, observations).map((result) => ({
    ...result,
    baseline: result.observed ?? result.error ?? 'nothing was observed',
  }));
}

/**
 * The soak after all checks were observed. It starts again after a failure, and after a gap between
 * observations.
 * @param observed.at when the checks were observed
 * @param observed.lastObserved when they were observed before that (RFC 3339); undefined the first
 * time
 */
export function nextSoak(
  previous: Soak | undefined,
  results: readonly CheckResult[],
  observed: { readonly at: string; readonly lastObserved: string | undefined },
): Soak {
  const restarts = previous?.restarts ?? 0;
  const held = previous?.startTime;
  const allPass = results.length > 0 && results.every((result) => result.passing);
  if (!allPass) return { restarts: held === undefined ? restarts : restarts + 1 };
  if (held === undefined) return { startTime: observed.at, restarts };
  // This observation already started the soak: counting it twice is not a gap.
  if (held === observed.at) return { startTime: held, restarts };
  const gap =
    observed.lastObserved === undefined
      ? Number.POSITIVE_INFINITY
      : Date.parse(observed.at) - Date.parse(observed.lastObserved);
  return gap > MAX_GAP_MS ? { startTime: observed.at, restarts: restarts + 1 } : { startTime: held, restarts };
}

/** Whether the checks have held for long enough, as of the last observation. */
export function hasSoaked(soak: Soak | undefined, soakSeconds: number, lastObserved: string): boolean {
  return soak?.startTime !== undefined && Date.parse(lastObserved) - Date.parse(soak.startTime) >= soakSeconds * 1000;
}

/**
 * How long after a claim the soak may start, in seconds. A soak that has started may finish later.
 */
export function verifyGraceSeconds(soakSeconds: number): number {
  return Math.max(60, 2 * soakSeconds);
}

/** The checks that do not hold, one sentence each, as evidence for the next attempt. */
export function failingEvidence(results: readonly CheckResult[]): string {
  return results
    .filter((result) => !result.passing)
    .map((result) => `${result.name}: ${[result.error, result.observed].filter(Boolean).join('; ') || 'does not hold'}`)
    .join('\n');
}
