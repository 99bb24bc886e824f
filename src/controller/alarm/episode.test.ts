// Reports about an alarm in any order: it is opened once, counted, back and cleared.

import { describe, expect, it } from 'vitest';
import type { AlarmStatus } from '../../api/incident-status.ts';
import { type KnownIncident, onFiring, onResolved } from './episode.ts';

const at = (second: number): string => new Date(Date.UTC(2026, 0, 1) + second * 1000).toISOString();
const firing = (startTime: number, lastTime = startTime, count = 1) => ({
  startTime: at(startTime),
  lastTime: at(lastTime),
  count,
  flaps: 0,
});
const known = (startTime: number, alarm: Partial<AlarmStatus> | undefined, finished = false): KnownIncident => ({
  name: 'i',
  startTime: at(startTime),
  finished,
  alarm:
    alarm === undefined
      ? undefined
      : {
          state: 'Firing',
          occurrences: 1,
          firstSeen: at(startTime),
          lastSeen: at(startTime),
          startTime: at(startTime),
          flaps: 0,
          ...alarm,
        },
});
const cleared = (second: number) => ({ state: 'Cleared', clearedTime: at(second) }) as const;

describe('an alarm that fires', () => {
  it('opens when nothing is known', () => {
    expect(onFiring(undefined, firing(10, 12))).toEqual({
      kind: 'opened',
      alarm: { state: 'Firing', occurrences: 1, firstSeen: at(10), lastSeen: at(12), startTime: at(10), flaps: 0 },
    });
  });

  it('opens nothing when its end arrived first', () => {
    expect(onFiring(undefined, firing(10), at(20)).kind).toBe('stale');
    expect(onFiring(undefined, firing(30), at(20)).kind).toBe('opened');
  });

  it('is counted on the open Incident, whenever it began', () => {
    expect(onFiring(known(10, {}), firing(10, 40, 3))).toMatchObject({
      kind: 'counted',
      alarm: { occurrences: 4, lastSeen: at(40), startTime: at(10) },
    });
    expect(onFiring(known(10, {}), firing(30))).toMatchObject({ kind: 'counted', alarm: { startTime: at(30) } });
    expect(onFiring(known(10, {}), firing(5))).toMatchObject({ kind: 'counted', alarm: { startTime: at(10) } });
  });

  it('is back, and counts as a flap, when it begins after it was cleared', () => {
    const { kind, alarm } = onFiring(known(10, cleared(20)), firing(25));
    expect(kind).toBe('back');
    expect(alarm).toMatchObject({ state: 'Firing', flaps: 1, occurrences: 2, startTime: at(25) });
    expect(alarm).not.toHaveProperty('clearedTime');
  });

  it('is stale when it began before it was cleared', () => {
    const before = known(10, cleared(20));
    expect(onFiring(before, firing(10))).toEqual({ kind: 'stale', alarm: before.alarm });
    expect(onFiring(before, firing(15)).kind).toBe('stale');
  });

  it('opens no second Incident for a finished episode, but one for the next episode', () => {
    expect(onFiring(known(10, {}, true), firing(10)).kind).toBe('stale');
    expect(onFiring(known(10, { startTime: at(30) }, true), firing(30)).kind).toBe('stale');
    expect(onFiring(known(10, cleared(50), true), firing(40)).kind).toBe('stale');
    expect(onFiring(known(10, cleared(50), true), firing(60)).kind).toBe('opened');
    expect(onFiring(known(10, {}, true), firing(60)).kind).toBe('opened');
  });

  it('is recorded on an Incident that was opened without a status', () => {
    expect(onFiring(known(10, undefined), firing(10, 15))).toMatchObject({
      kind: 'counted',
      alarm: { state: 'Firing', occurrences: 1, firstSeen: at(10), lastSeen: at(15) },
    });
  });
});

describe('an alarm that stops firing', () => {
  it('is cleared once, and keeps the latest end', () => {
    const { kind, alarm } = onResolved(known(10, {}), at(20));
    expect(kind).toBe('cleared');
    expect(alarm).toMatchObject({ state: 'Cleared', clearedTime: at(20) });
    const again = known(10, alarm);
    expect(onResolved(again, at(20))).toEqual({ kind: 'stale', alarm: again.alarm });
    expect(onResolved(again, at(15)).alarm).toBe(again.alarm);
    expect(onResolved(again, at(25)).alarm?.clearedTime).toBe(at(25));
  });

  it('counts what was not yet reported before its end', () => {
    const before = known(10, { occurrences: 3 });
    const unreported = { count: 2, flaps: 1, lastTime: at(18) };
    expect(onResolved(before, at(20), unreported).alarm).toMatchObject({ occurrences: 5, flaps: 1, lastSeen: at(18) });
    expect(onResolved(before, at(5), unreported).alarm?.occurrences).toBe(3);
  });

  it('does not clear an episode that began after that end', () => {
    const before = known(30, {});
    expect(onResolved(before, at(20))).toEqual({ kind: 'stale', alarm: before.alarm });
    const back = known(10, { startTime: at(30) });
    expect(onResolved(back, at(20)).kind).toBe('stale');
  });

  it('is stale without an Incident', () => {
    expect(onResolved(undefined, at(1))).toEqual({ kind: 'stale', alarm: undefined });
  });
});

describe('any order of the same reports', () => {
  it('ends in the same state while the Incident stays open', () => {
    const reports: readonly (['fire' | 'end', number] | ['end', number])[] = [
      ['fire', 10],
      ['end', 20],
      ['fire', 30],
      ['end', 40],
      ['fire', 50],
    ];
    let seed = 7;
    const random = () => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed / 2 ** 31;
    };
    for (let round = 0; round < 200; round += 1) {
      const twice = [...reports, ...reports].map((report) => ({ report, key: random() })).sort((a, b) => a.key - b.key);
      let incident = known(10, {});
      for (const { report } of twice) {
        const [kind, time] = report;
        const transition = kind === 'fire' ? onFiring(incident, firing(time)) : onResolved(incident, at(time));
        expect(transition.kind).not.toBe('opened');
        incident = { ...incident, alarm: transition.alarm };
      }
      expect(incident.alarm).toMatchObject({ state: 'Firing', startTime: at(50) });
    }
  });
});
