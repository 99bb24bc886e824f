// Random walks through the life of an Incident, with a crash after any step, keep its invariants.

import { expect, it } from 'vitest';
import {
  at,
  claim,
  condition,
  firstObservation,
  incident,
  iso,
  observed,
  sees,
} from '../../../test/support/incident-fixtures.ts';
import { FINALIZER } from '../../api/group.ts';
import { type Incident, incident as incidentSchema } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { needsObservation, plan } from './plan.ts';
import type { Learned, Plan } from './plan-builder.ts';
import type { PodView } from './pod-state.ts';
import { findBreach, liveAttempt } from './status.ts';

/** Conditions that only the gateway writes. */
const GATEWAYS = ['RepairClaimed', 'AuditIntact', 'WritesExplained'];

/** A small deterministic generator (mulberry32), so that a failing walk can be repeated. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function walk(seed: number): { incident: Incident | undefined; trail: string[] } {
  const random = generator(seed);
  const chance = (probability: number) => random() < probability;
  const trail: string[] = [];
  let second = 0;
  let current: Incident | undefined = incident({
    metadata: { finalizers: undefined },
    spec: { limits: { attempts: 3 } },
  });
  let pods: PodView[] = [];
  let podsMade = 0;
  let cleaned = new Set<string>();
  let lastObserved: string | undefined;
  let healthy = false;
  let learned: Learned | undefined;
  const set = (change: object) => {
    if (current !== undefined) current = incidentSchema.parse({ ...current, status: { ...current.status, ...change } });
  };

  const perform = (made: Plan) => {
    const crashed = () => {
      if (!chance(0.15)) return false;
      trail.push('crash');
      cleaned = new Set();
      lastObserved = undefined;
      learned = undefined;
      return true;
    };
    if (current === undefined) return;
    if (made.actions.some((action) => action.type === 'add-finalizer')) {
      current = { ...current, metadata: { ...current.metadata, finalizers: [FINALIZER] } };
      if (crashed()) return;
    }
    if (made.status !== undefined) {
      const { claim: said, usage, audit, conditions } = current.status ?? {};
      const gateways = conditions?.filter((one) => GATEWAYS.includes(one.type)) ?? [];
      current = incidentSchema.parse({
        ...current,
        status: {
          ...made.status,
          claim: said,
          usage,
          audit: { ...audit, ...made.status.audit },
          conditions: [...(made.status.conditions ?? []), ...gateways],
        },
      });
      if (crashed()) return;
    }
    for (const action of made.actions) {
      trail.push(action.type);
      if (action.type === 'create-pod') {
        const number = action.attempt;
        const name = `pod-${number}`;
        if (!pods.some((pod) => pod.attempt === number)) {
          podsMade += 1;
          pods.push({ name, uid: `u${podsMade}`, attempt: number, deleting: false, state: { type: 'starting' } });
        }
        expect(current.status?.baseline, trail.join(' ')).toBeDefined();
        learned = { attempt: number, podUID: pods.find((pod) => pod.attempt === number)?.uid ?? '' };
      } else if (action.type === 'observe-baseline') {
        learned = { attempt: action.attempt, firstObservation };
      } else if (action.type === 'clean-attempt') {
        pods = pods.filter((pod) => pod.attempt !== action.attempt);
        cleaned.add(`attempt-${action.attempt}`);
      } else if (action.type === 'clean-incident') {
        pods = [];
        cleaned.add('incident');
      } else if (action.type === 'remove-finalizer' && current !== undefined) {
        if (current.metadata.deletionTimestamp !== undefined) current = undefined;
        else current = { ...current, metadata: { ...current.metadata, finalizers: undefined } };
      }
      if (current === undefined || crashed()) return;
    }
  };

  const deps = () => {
    second += chance(0.1) ? 70 : random() * 3;
    if (chance(0.15)) healthy = !healthy;
    if (current === undefined) return;
    const live = liveAttempt(current.status);
    const pod = pods.find((one) => one.uid === live?.podUID);
    if (pod !== undefined && live !== undefined) {
      if (chance(0.5)) pods = pods.map((one) => (one === pod ? { ...one, state: { type: 'running' } } : one));
      if (chance(0.05)) pods = pods.filter((one) => one !== pod);
      if (chance(0.3)) {
        trail.push('claim');
        const outcome = chance(0.1) ? 'CannotFix' : 'Fixed';
        const claimed = {
          type: 'RepairClaimed',
          status: 'True',
          reason: outcome,
          message: '',
          lastTransitionTime: iso(second),
        };
        const others = current.status?.conditions?.filter((one) => one.type !== 'RepairClaimed') ?? [];
        set({ claim: claim(live.number, outcome, second), conditions: [...others, claimed] });
      }
    }
    if (findCondition(current?.status?.conditions, 'AuditSealed')?.reason === 'SealRequested' && chance(0.3)) {
      set({ audit: { finalHeadHash: 'h' } });
    }
    if (chance(0.01)) {
      const [type, reason] = chance(0.5) ? ['AuditIntact', 'AuditBroken'] : ['WritesExplained', 'UnexplainedWrite'];
      trail.push(reason);
      const others = current.status?.conditions?.filter((one) => one.type !== type) ?? [];
      set({ conditions: [...others, { ...condition(type, 'False', reason), lastTransitionTime: iso(second) }] });
    }
    if (chance(0.03)) current = { ...current, spec: { ...current.spec, cancel: true } };
    if (chance(0.02)) current = { ...current, spec: { ...current.spec, suspend: !current.spec.suspend } };
    if (chance(0.005)) current = { ...current, metadata: { ...current.metadata, deletionTimestamp: iso(second) } };
  };

  for (let step = 0; step < 400 && current !== undefined; step += 1) {
    deps();
    if (current === undefined) break;
    const seen: Incident = current;
    const live = liveAttempt(seen.status);
    const observation = needsObservation(seen, at(second))
      ? { observations: [sees(second, healthy)], lastObserved }
      : undefined;
    if (observation !== undefined) lastObserved = iso(second);
    const made = plan(
      seen,
      observed({
        pod: pods.find((pod) => pod.name === `pod-${live?.number}`),
        oldPods: pods.filter((pod) => pod.attempt <= (seen.status?.attempts?.length ?? 0) && pod.uid !== live?.podUID)
          .length,
        observation,
        cleaned,
        learned,
      }),
      at(second),
    );
    perform(made);
    check(current, pods, trail);
    if (isTrue(current?.status?.conditions, 'Finished') && current?.metadata.finalizers === undefined) break;
  }
  return { incident: current, trail };
}

function check(current: Incident | undefined, pods: readonly PodView[], trail: readonly string[]): void {
  const where = trail.slice(-12).join(' → ');
  if (current === undefined) {
    expect(pods, where).toEqual([]);
    return;
  }
  const attempts = current.status?.attempts ?? [];
  expect(
    attempts.map((one) => one.number),
    where,
  ).toEqual(attempts.map((_, index) => index + 1));
  expect(attempts.filter((one) => one.endTime === undefined).length, where).toBeLessThanOrEqual(1);
  expect(attempts.length, where).toBeLessThanOrEqual(current.status?.limits?.attempts ?? 0);
  expect(
    pods.filter((pod) => !attempts.some((one) => one.number === pod.attempt)),
    where,
  ).toEqual([]);
  const conditions = current.status?.conditions;
  const fault = findBreach(current.status);
  if (fault !== undefined && isTrue(conditions, 'Finished')) {
    expect(isTrue(conditions, 'Succeeded'), where).toBe(false);
    expect(current.status?.phase, where).not.toBe('Resolved');
  }
  if (isTrue(conditions, 'Succeeded')) {
    expect(isTrue(conditions, 'RepairClaimed') && isTrue(conditions, 'Verified'), where).toBe(true);
    const soaked =
      Date.parse(current.status?.verification?.[0]?.observedTime ?? '') -
      Date.parse(current.status?.soak?.startTime ?? '');
    expect(soaked, where).toBeGreaterThanOrEqual(10_000);
  }
  if (isTrue(conditions, 'Finished')) {
    expect(pods, where).toEqual([]);
    expect(liveAttempt(current.status), where).toBeUndefined();
  }
}

it('keeps its invariants on two hundred random walks with crashes, most of which reach an end', () => {
  const ends = new Map<string, number>();
  const count = (end: string) => ends.set(end, (ends.get(end) ?? 0) + 1);
  for (let seed = 1; seed <= 200; seed += 1) {
    const { incident: last } = walk(seed);
    const phase =
      last === undefined ? 'deleted' : isTrue(last.status?.conditions, 'Finished') ? last.status?.phase : 'unfinished';
    count(phase ?? '?');
    const succeeded = findCondition(last?.status?.conditions, 'Succeeded');
    if (succeeded !== undefined) count(succeeded.reason);
  }
  // The walks reach every kind of end.
  for (const end of ['Resolved', 'Escalated', 'Cancelled', 'deleted', 'AuditBroken', 'UnexplainedWrite'])
    expect(ends.get(end) ?? 0, end).toBeGreaterThan(3);
  expect(ends.get('unfinished') ?? 0).toBeLessThan(30);
}, 120_000);
