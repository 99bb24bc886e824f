// The queue of a namespace: which Incident holds it, which is next, and which do not count.

import { describe, expect, it } from 'vitest';
import { attempt, begun, condition, incident, iso } from '../../../test/support/incident-fixtures.ts';
import type { Incident } from '../../api/incident.ts';
import { findBlocker } from './queue.ts';

const accepted = { conditions: [condition('Accepted', 'True', 'Accepted')] };
const of = (
  name: string,
  parts: { spec?: object; status?: object; second?: number; deleted?: boolean } = {},
): Incident =>
  incident({
    metadata: {
      name,
      uid: `uid-${name}`,
      creationTimestamp: iso(parts.second ?? 0),
      ...(parts.deleted ? { deletionTimestamp: iso(1) } : {}),
    },
    status: parts.status ?? accepted,
    ...(parts.spec === undefined ? {} : { spec: parts.spec }),
  });
const name = (...all: Parameters<typeof findBlocker>) => findBlocker(...all)?.name;
const working = (attemptParts: object = {}) => begun([attempt(1, attemptParts)]);

describe('findBlocker', () => {
  it('finds none for an Incident that shares its targets with no other', () => {
    const elsewhere = of('elsewhere', { spec: { targetNamespaces: ['other'] }, status: working() });
    expect(findBlocker(of('a'), [of('a'), elsewhere])).toBeUndefined();
  });

  it('finds the Incident that works on one of the targets, whatever its severity', () => {
    const busy = of('busy', {
      spec: { severity: 'info', targetNamespaces: ['x', 'tikv'] },
      status: working(),
      second: 9,
    });
    expect(findBlocker(of('a', { spec: { severity: 'critical' } }), [busy])).toMatchObject({
      name: 'busy',
      target: 'tikv',
      working: true,
    });
  });

  it('finds an Incident that was just started, even before the cache shows it', () => {
    expect(name(of('a'), [of('b', { second: 5 })], new Set(['uid-b']))).toBe('b');
  });

  it('orders waiting Incidents by severity, then age, then name', () => {
    const critical = of('critical', { spec: { severity: 'critical' }, second: 9 });
    const old = of('old', { second: 1 });
    const young = of('young', { second: 5 });
    const twin = of('twin', { second: 5 });
    const all = [young, twin, old, critical];
    expect(name(critical, all)).toBeUndefined();
    expect(name(old, all)).toBe('critical');
    expect(name(young, all)).toBe('critical');
    expect(name(young, [twin, young])).toBe('twin');
    expect(name(twin, [twin, young])).toBeUndefined();
  });

  it('prefers an Incident with an earlier attempt', () => {
    const begunOne = of('begun', { second: 9, status: working({ endTime: iso(3), reason: 'Interrupted' }) });
    expect(name(of('fresh', { spec: { severity: 'critical' } }), [begunOne])).toBe('begun');
    expect(name(begunOne, [of('fresh', { spec: { severity: 'critical' } })])).toBeUndefined();
  });

  it('ignores Incidents that cannot start: suspended, cancelled, being deleted, not accepted, finished', () => {
    const finished = { conditions: [...accepted.conditions, condition('Finished', 'True', 'Resolved')] };
    const others = [
      of('suspended', { spec: { suspend: true } }),
      of('cancelled', { spec: { cancel: true } }),
      of('deleted', { deleted: true }),
      of('new', { status: {} }),
      of('finished', { status: finished }),
      of('stood-still', { spec: { suspend: true }, status: working({ endTime: iso(3), reason: 'Interrupted' }) }),
    ];
    expect(findBlocker(of('a', { second: 100 }), others)).toBeUndefined();
  });

  it('counts an Incident whose repair is being verified', () => {
    const verifying = of('verifying', { status: working({ endTime: iso(3), reason: 'Claimed' }) });
    expect(name(of('a', { spec: { severity: 'critical' } }), [verifying])).toBe('verifying');
  });

  it('never lets two Incidents wait for each other', () => {
    const states = [accepted, working(), working({ endTime: iso(3), reason: 'Interrupted' })];
    for (const [first, second] of states.flatMap((left) => states.map((right) => [left, right] as const))) {
      const [a, b] = [of('a', { status: first }), of('b', { status: second, second: 1 })];
      expect(findBlocker(a, [b]) !== undefined && findBlocker(b, [a]) !== undefined).toBe(false);
    }
  });
});
