// The soak: when it starts, what breaks it, and what starts it again.

import { describe, expect, it } from 'vitest';
import type { Observation } from './observation.ts';
import {
  baselineResults,
  failingEvidence,
  hasSoaked,
  MAX_GAP_MS,
  nextResults,
  nextSoak,
  verifyGraceSeconds,
} from './soak.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
const seen = (second: number, passing: boolean, name = 'c'): Observation => ({
  name,
  passing,
  observed: `passing: ${passing}`,
  time: at(second),
});

/** Runs a soak over observations at the given seconds. */
function soakOver(observations: readonly (readonly [second: number, passing: boolean])[]) {
  let soak: ReturnType<typeof nextSoak> | undefined;
  let lastObserved: string | undefined;
  for (const [second, passing] of observations) {
    soak = nextSoak(soak, nextResults(undefined, [seen(second, passing)]), { at: at(second), lastObserved });
    lastObserved = at(second);
  }
  return { soak, lastObserved: lastObserved ?? '' };
}

describe('nextSoak', () => {
  it('starts with the first observation in which all checks pass', () => {
    expect(
      soakOver([
        [0, false],
        [2, true],
        [4, true],
      ]).soak,
    ).toEqual({ startTime: at(2), restarts: 0 });
  });

  it('requires all checks to pass at the same time', () => {
    const results = nextResults(undefined, [seen(0, true, 'a'), seen(0, false, 'b')]);
    expect(nextSoak(undefined, results, { at: at(0), lastObserved: undefined })).toEqual({ restarts: 0 });
  });

  it('ends when a check fails, and counts the restart', () => {
    expect(
      soakOver([
        [0, true],
        [2, false],
      ]).soak,
    ).toEqual({ restarts: 1 });
    expect(
      soakOver([
        [0, true],
        [2, false],
        [4, false],
        [6, true],
      ]).soak,
    ).toEqual({ startTime: at(6), restarts: 1 });
  });

  it('starts again after a gap without observations', () => {
    const gap = MAX_GAP_MS / 1000 + 1;
    expect(
      soakOver([
        [0, true],
        [gap, true],
      ]).soak,
    ).toEqual({ startTime: at(gap), restarts: 1 });
    expect(
      soakOver([
        [0, true],
        [gap - 2, true],
      ]).soak,
    ).toEqual({ startTime: at(0), restarts: 0 });
  });

  it('counts the same observation only once', () => {
    const results = nextResults(undefined, [seen(0, true)]);
    const observed = { at: at(0), lastObserved: undefined };
    const once = nextSoak(undefined, results, observed);
    expect(nextSoak(once, results, observed)).toEqual(once);
  });

  it('never starts without a check', () => {
    expect(nextSoak(undefined, [], { at: at(0), lastObserved: undefined }).startTime).toBeUndefined();
  });
});

describe('hasSoaked', () => {
  it('measures from the first to the last observation, not to the present', () => {
    const { soak, lastObserved } = soakOver([
      [0, true],
      [14, true],
      [28, true],
    ]);
    expect(hasSoaked(soak, 30, lastObserved)).toBe(false);
    expect(hasSoaked(soak, 28, lastObserved)).toBe(true);
  });

  it('is never true while a check fails', () => {
    const { soak, lastObserved } = soakOver([
      [0, true],
      [2, false],
    ]);
    expect(hasSoaked(soak, 0, lastObserved)).toBe(false);
  });
});

describe('results', () => {
  it('keep the baseline, and the time since which a check passes', () => {
    const [before] = baselineResults([seen(0, false)]);
    expect(before).toMatchObject({ passing: false, baseline: 'passing: false' });
    const [now] = nextResults(before === undefined ? [] : [before], [seen(2, true)]);
    expect(now).toMatchObject({ baseline: 'passing: false', passingSince: at(2) });
    const [later] = nextResults(now === undefined ? [] : [now], [seen(4, true)]);
    expect(later).toMatchObject({ passingSince: at(2), observedTime: at(4) });
  });

  it('give the checks that do not hold as evidence', () => {
    const results = nextResults(undefined, [
      seen(0, true, 'fine'),
      { name: 'blind', passing: false, error: 'no answer', time: at(0) },
    ]);
    expect(failingEvidence(results)).toBe('blind: no answer');
  });
});

it('gives a soak at least a minute to start after a claim', () => {
  expect(verifyGraceSeconds(0)).toBe(60);
  expect(verifyGraceSeconds(100)).toBe(200);
});
