// Sequences of holding, failing and unknown probes: when they open and clear an alarm.

import { describe, expect, it } from 'vitest';
import { failing, iso, START } from '../../../test/support/monitor-fixtures.ts';
import { type AlarmStep, type IncidentOutcome, MAX_ALARMS, type MonitorAlarms, nextAlarms } from './alarms.ts';

type ProbeKind = 'good' | 'bad' | 'unknown';

/**
 * A Monitor that is probed at given seconds. Its Incidents are open until a test sets another
 * outcome.
 */
class Run {
  alarms: MonitorAlarms = { alarms: [], flaps: new Map() };
  outcome: IncidentOutcome = 'open';
  readonly raised: number[] = [];
  readonly cleared: number[] = [];
  readonly rules: { forSeconds: number; clearSeconds: number };
  #broken = true;

  constructor(rules: { forSeconds: number; clearSeconds: number }) {
    this.rules = rules;
  }

  probe(second: number, kind: ProbeKind): AlarmStep | undefined {
    if (kind === 'unknown') {
      this.#broken = true;
      return undefined;
    }
    const step = nextAlarms(this.alarms, kind === 'bad' ? [failing()] : [], {
      rules: this.rules,
      broken: this.#broken,
      findOutcome: () => this.outcome,
      now: new Date(START + second * 1000),
    });
    this.#broken = false;
    if (step.raise.length > 0) {
      this.raised.push(second);
      this.outcome = 'open';
    }
    if (step.clear.length > 0) this.cleared.push(second);
    const over = new Set(step.clear.map(({ fingerprint }) => fingerprint));
    const alarms = step.next.alarms
      .filter((alarm) => !over.has(alarm.fingerprint))
      .map((alarm) => (step.raise.includes(alarm.fingerprint) ? { ...alarm, incident: 'i' } : alarm));
    this.alarms = { ...step.next, alarms };
    return step;
  }

  /** Probes every `every` seconds from `from` to `to`, inclusive. */
  all(kind: ProbeKind, from: number, to: number, every = 5): this {
    for (let second = from; second <= to; second += every) this.probe(second, kind);
    return this;
  }

  get alarm() {
    return this.alarms.alarms[0];
  }
}

describe('an alarm', () => {
  it('opens one Incident at once without forSeconds', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 30 }).all('bad', 0, 20);
    expect(run.raised).toEqual([0]);
    expect(run.alarm).toMatchObject({ state: 'Firing', occurrences: 5, startTime: iso(0), lastSeen: iso(20) });
  });

  it('opens an Incident after forSeconds without interruption', () => {
    expect(new Run({ forSeconds: 10, clearSeconds: 30 }).all('bad', 0, 20).raised).toEqual([10]);
    const broken = new Run({ forSeconds: 10, clearSeconds: 30 }).all('bad', 0, 5);
    broken.probe(8, 'good');
    expect(broken.all('bad', 10, 30).raised).toEqual([20]);
  });

  it('clears after clearSeconds without interruption', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 20 }).all('bad', 0, 10).all('good', 15, 60);
    expect(run.cleared).toEqual([35]);
    expect(run.alarms.alarms).toEqual([]);
  });

  it('stays the same and counts a flap when it comes back while clearing', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 20 }).all('bad', 0, 10).all('good', 15, 25).all('bad', 30, 40);
    expect(run.raised).toEqual([0]);
    expect(run.alarm).toMatchObject({ state: 'Firing', flaps: 1, startTime: iso(0), incident: 'i' });
  });

  it('must last longer before the next Incident after recent flaps', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 20 });
    run.all('bad', 0, 10).all('good', 15, 20).all('bad', 25, 30).all('good', 35, 60);
    expect(run.cleared).toEqual([55]);
    run.all('bad', 65, 100);
    expect(run.raised).toEqual([0, 85]);
    run.all('good', 105, 130).all('good', 800, 800).all('bad', 805, 805);
    expect(run.raised).toEqual([0, 85, 805]);
  });

  it('starts a new episode after a resolved Incident, but not after one that merely ended', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 20 }).all('bad', 0, 10);
    run.outcome = 'ended';
    run.all('bad', 15, 30);
    expect(run.raised).toEqual([0]);
    run.outcome = 'resolved';
    run.probe(35, 'bad');
    // It came back at once, which counts as a flap, so it must last longer.
    expect(run.alarm).toMatchObject({ state: 'Pending', startTime: iso(35), occurrences: 1 });
    run.all('bad', 40, 60);
    expect(run.raised).toEqual([0, 55]);
  });

  it('clears at once when its Incident is resolved and the check holds', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 300 }).all('bad', 0, 10);
    run.outcome = 'resolved';
    run.probe(15, 'good');
    expect(run.cleared).toEqual([15]);
  });

  it('gets another Incident when someone deletes the first one', () => {
    const run = new Run({ forSeconds: 0, clearSeconds: 20 }).all('bad', 0, 10);
    run.outcome = 'missing';
    run.probe(15, 'bad');
    expect(run.raised).toEqual([0, 15]);
    expect(run.alarm?.startTime).toBe(iso(0));
  });
});

describe('a failed probe', () => {
  it('opens and clears nothing, however often it fails', () => {
    const pending = new Run({ forSeconds: 10, clearSeconds: 10 }).all('bad', 0, 5).all('unknown', 10, 700);
    expect(pending.raised).toEqual([]);
    const clearing = new Run({ forSeconds: 0, clearSeconds: 10 }).all('bad', 0, 5).all('good', 10, 15);
    clearing.all('unknown', 20, 700);
    expect(clearing.cleared).toEqual([]);
    expect(clearing.alarm?.state).toBe('Clearing');
  });

  it('is a break: forSeconds and clearSeconds start again after it', () => {
    const pending = new Run({ forSeconds: 10, clearSeconds: 10 }).all('bad', 0, 5).all('unknown', 10, 100);
    expect(pending.all('bad', 105, 130).raised).toEqual([115]);
    const clearing = new Run({ forSeconds: 0, clearSeconds: 10 }).all('bad', 0, 5).all('good', 10, 15);
    clearing.all('unknown', 20, 100);
    expect(clearing.all('good', 105, 130).cleared).toEqual([115]);
  });
});

describe('alarms by labels', () => {
  it('open and clear independently', () => {
    const rules = { forSeconds: 0, clearSeconds: 0 };
    const context = { rules, broken: false, findOutcome: () => 'open' as const };
    const first = nextAlarms({ alarms: [], flaps: new Map() }, [failing('a', { store: '1' }), failing('b')], {
      ...context,
      now: new Date(START),
    });
    expect(first.raise).toEqual(['a', 'b']);
    const second = nextAlarms(first.next, [failing('b')], { ...context, now: new Date(START + 5000) });
    expect(second.clear).toEqual([{ fingerprint: 'a', endTime: iso(5) }]);
    expect(second.raise).toEqual(['b']);
  });

  it('are kept up to the maximum, and the rest is counted', () => {
    const many = Array.from({ length: MAX_ALARMS + 6 }, (_, index) => failing(`f${index}`));
    const step = nextAlarms({ alarms: [], flaps: new Map() }, many, {
      rules: { forSeconds: 0, clearSeconds: 0 },
      broken: false,
      findOutcome: () => 'open',
      now: new Date(START),
    });
    expect(step.next.alarms).toHaveLength(MAX_ALARMS);
    expect(step.omitted).toBe(6);
  });
});

it('opens only after unbroken failure and clears only after unbroken holding, in turn, on random sequences', () => {
  let seed = 42;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  let opened = 0;
  let cleared = 0;
  for (let round = 0; round < 400; round += 1) {
    const rules = { forSeconds: random(3) * 15, clearSeconds: random(4) * 10 };
    const run = new Run(rules);
    const history: { second: number; kind: ProbeKind }[] = [];
    let second = 0;
    /** Seconds for which all probes up to now were of this kind, without interruption. */
    const unbroken = (kind: ProbeKind) => {
      const from = history.findLastIndex((entry) => entry.kind !== kind) + 1;
      const first = history[from];
      return first === undefined ? -1 : second - first.second;
    };
    let current: ProbeKind = 'good';
    for (let step = 0; step < 120; step += 1) {
      if (random(4) === 0) current = (['good', 'bad', 'unknown'] as const)[random(3)] ?? 'good';
      second += 5 + random(3);
      history.push({ second, kind: current });
      const [raises, clears] = [run.raised.length, run.cleared.length];
      run.probe(second, current);
      if (run.raised.length > raises) expect(unbroken('bad')).toBeGreaterThanOrEqual(rules.forSeconds);
      if (run.cleared.length > clears) expect(unbroken('good')).toBeGreaterThanOrEqual(rules.clearSeconds);
      if (current === 'unknown') expect([run.raised.length, run.cleared.length]).toEqual([raises, clears]);
    }
    const events = [...run.raised.map((at) => ({ at, open: true })), ...run.cleared.map((at) => ({ at, open: false }))];
    events.sort((a, b) => a.at - b.at);
    events.forEach(({ open }, index) => {
      expect(open).toBe(index % 2 === 0);
    });
    opened += run.raised.length;
    cleared += run.cleared.length;
  }
  // Without any events the test would prove nothing.
  expect(opened).toBeGreaterThan(500);
  expect(cleared).toBeGreaterThan(300);
});
