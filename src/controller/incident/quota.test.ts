// The quota of a class: who waits, for what, and who is not held up by those that wait.

import { describe, expect, it } from 'vitest';
import {
  agentClass,
  at,
  attempt,
  begun,
  condition,
  end,
  findReason,
  incident,
  iso,
  observed,
  types,
} from '../../../test/support/incident-fixtures.ts';
import { agentClassSpec } from '../../api/agent-class.ts';
import type { Incident } from '../../api/incident.ts';
import type { DayUsage, Quota } from '../../api/quota.ts';
import { plan } from './plan.ts';
import { findBlocker } from './queue.ts';
import { findQuotaHold } from './quota.ts';

const accepted = { conditions: [condition('Accepted', 'True', 'Accepted')] };
const working = () => begun([attempt(1)]);
const of = (
  name: string,
  parts: { namespace?: string; spec?: object; status?: object; second?: number } = {},
): Incident =>
  incident({
    metadata: {
      ...{ name, uid: `uid-${name}`, creationTimestamp: iso(parts.second ?? 0) },
      ...(parts.namespace === undefined ? {} : { namespace: parts.namespace }),
    },
    status: parts.status ?? accepted,
    spec: { targetNamespaces: [`target-${name}`], ...parts.spec },
  });
const classWith = (quota: Partial<Quota>, day?: DayUsage) => ({
  ...agentClass,
  metadata: { ...agentClass.metadata, generation: 3 },
  spec: agentClassSpec.parse({ images: { agent: 'a', sandbox: 's' }, quota }),
  ...(day === undefined ? {} : { status: { day } }),
});
const hold = (one: Incident, all: readonly Incident[], quota: Partial<Quota>, starting = new Set<string>()) =>
  findQuotaHold(one, classWith(quota), { all, starting, now: at(0) });
const source = (kind: 'Monitor' | 'Alertmanager' | 'Webhook', name: string) => ({
  source: { kind, name, fingerprint: 'f', startTime: iso(0) },
});

describe('the number of open Incidents', () => {
  it('lets the oldest go first, and all go in the end', () => {
    const [a, b, c] = [of('a', { second: 1 }), of('b', { second: 2 }), of('c', { second: 3 })];
    const two = { maxOpenIncidentsPerNamespace: 2 };
    expect(hold(a, [a, b, c], two)).toBeUndefined();
    expect(hold(b, [a, b, c], two)).toBeUndefined();
    expect(hold(c, [a, b, c], two)).toMatchObject({ reason: 'TooManyOpenIncidents' });
    expect(hold(c, [b, c], two)).toBeUndefined();
  });

  it('counts Incidents at work whatever their age, also before the cache shows them', () => {
    const one = { maxOpenIncidentsPerNamespace: 1 };
    const [a, b] = [of('a', { second: 1 }), of('b', { second: 9 })];
    expect(hold(a, [a, of('b', { second: 9, status: working() })], one)?.reason).toBe('TooManyOpenIncidents');
    expect(hold(a, [a, b], one, new Set(['uid-b']))?.reason).toBe('TooManyOpenIncidents');
    expect(hold(of('a', { status: working() }), [b], one)).toBeUndefined();
  });

  it('does not count finished, suspended or foreign Incidents', () => {
    const one = { maxOpenIncidentsPerNamespace: 1, maxOpenIncidentsPerSource: 1 };
    const finished = of('b', { status: { conditions: [condition('Finished', 'True', 'Resolved')] } });
    const suspended = of('c', { spec: { suspend: true } });
    const elsewhere = of('d', { namespace: 'elsewhere', status: working() });
    const ofClass = of('e', { spec: { agentClassName: 'other' }, status: working() });
    expect(hold(of('z', { second: 9 }), [finished, suspended, elsewhere, ofClass], one)).toBeUndefined();
  });

  it('counts a route in all namespaces, and Monitors and people in their own', () => {
    const one = { maxOpenIncidentsPerSource: 1 };
    const route = (name: string, namespace: string) =>
      of(name, { namespace, spec: source('Webhook', 'r'), status: working() });
    const waits = (spec: object, other: Incident) => hold(of('z', { second: 9, spec }), [other], one)?.message;
    expect(waits(source('Webhook', 'r'), route('a', 'elsewhere'))).toContain('route r of the intake');
    expect(waits(source('Webhook', 'r2'), route('a', 'elsewhere'))).toBeUndefined();
    expect(waits(source('Alertmanager', 'r/Down'), route('a', 'elsewhere'))).toContain('route r of the intake');
    const monitor = (namespace?: string) =>
      of('a', { ...(namespace === undefined ? {} : { namespace }), spec: source('Monitor', 'm'), status: working() });
    expect(waits(source('Monitor', 'm'), monitor())).toContain('Monitor m');
    expect(waits(source('Monitor', 'm'), monitor('elsewhere'))).toBeUndefined();
    expect(waits({}, of('a', { status: working() }))).toContain('people in namespace');
    expect(waits({}, monitor())).toBeUndefined();
  });

  it('holds back the plan with a condition, and its targets are free for others meanwhile', () => {
    const quotaHold = { reason: 'TooManyOpenIncidents', message: 'too many' } as const;
    const made = plan(incident(), observed({ quotaHold }), at(0));
    expect(made.status).toMatchObject({ phase: 'Pending', message: 'too many' });
    expect(findReason(made, 'Reconciling')).toBe('TooManyOpenIncidents');
    expect(types(made)).toEqual([]);
    expect(made.notes.map(({ reason }) => reason)).toContain('TooManyOpenIncidents');
    const held = of('a', { status: { conditions: made.status?.conditions }, spec: { targetNamespaces: ['t'] } });
    const other = of('b', { second: 9, spec: { targetNamespaces: ['t'] } });
    expect(findBlocker(other, [held])).toBeUndefined();
  });
});

describe('the limits of the day', () => {
  const day = (parts: Partial<DayUsage> = {}): DayUsage => ({
    ...{ date: iso(0).slice(0, 10), costMilliUSD: 50_000, tokens: 9, limitReached: 'cost', observedGeneration: 3 },
    ...parts,
  });
  const find = (usage: DayUsage, one = of('a')) =>
    findQuotaHold(one, classWith({}, usage), { all: [], starting: new Set(), now: at(0) });

  it('hold back a start until midnight, and say so', () => {
    const midnight = Date.parse(`${iso(0).slice(0, 10)}T00:00:00Z`) + 86_400_000;
    const found = find(day());
    expect(found).toMatchObject({ reason: 'DayLimitReached', untilMs: midnight });
    expect(found?.message).toContain(`waiting until ${new Date(midnight).toISOString()}`);
    const made = plan(
      incident(),
      observed({ ...(found === undefined ? {} : { quotaHold: found }) }),
      new Date(midnight - 5000),
    );
    expect(made.requeueAfterMs).toBe(5000);
  });

  it.each<[string, Partial<DayUsage>]>([
    ['on another day', { date: '2020-01-01' }],
    ['after the class was changed', { observedGeneration: 2 }],
  ])('do not hold %s', (_, parts) => {
    expect(find(day(parts))).toBeUndefined();
  });

  it('do not touch an attempt at work', () => {
    expect(find(day(), of('a', { status: working() }))).toBeUndefined();
  });

  it('end the Incident that met them with a reason of its own', () => {
    const usage = {
      ...{ turns: 1, modelCalls: 1, inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
      ...{ costMilliUSD: 1, limitReached: 'day' },
    };
    const status = begun([attempt(1, { podUID: 'u1', endTime: iso(1), reason: 'LimitReached', message: 'm' })]);
    const observation = { observations: [], lastObserved: undefined };
    const made = plan(incident({ status: { ...status, usage } }), observed({ observation }), at(2));
    expect(end(made)).toBe('Escalated');
    expect(findReason(made, 'Finished')).toBe('DayLimitReached');
    expect(made.status?.message).toContain('daily quota');
  });
});
