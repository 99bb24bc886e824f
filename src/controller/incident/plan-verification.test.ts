// The plan of an Incident whose agent has made a claim: how the checks confirm or refute it.

import { describe, expect, it } from 'vitest';
import {
  at,
  attempt,
  begun,
  claim,
  end,
  findReason,
  incident,
  iso,
  lastReason,
  observed,
  running,
  sees,
} from '../../../test/support/incident-fixtures.ts';
import { findCondition } from '../../api/meta.ts';
import type { Observation } from '../../checks/observation.ts';
import { needsObservation, plan } from './plan.ts';

describe('a claimed repair', () => {
  const claimed = (more: object = {}, spec: object = {}) =>
    incident({
      spec,
      status: begun([attempt(1, { podUID: 'u1', endTime: iso(100), reason: 'Claimed' })], {
        claim: claim(1, 'Fixed', 100),
        ...more,
      }),
    });
  const observe = (second: number, passing: boolean, lastObserved?: number) => ({
    observations: [sees(second, passing)],
    lastObserved: lastObserved === undefined ? undefined : iso(lastObserved),
  });

  it('needs an observation, unlike a running attempt or a cancelled Incident', () => {
    expect(needsObservation(claimed(), at(101))).toBe(true);
    expect(needsObservation(incident({ status: running }), at(101))).toBe(false);
    expect(needsObservation(claimed({}, { cancel: true }), at(101))).toBe(false);
  });

  it('is Resolved only after the whole soak', () => {
    const first = plan(claimed(), observed({ observation: observe(101, true) }), at(101));
    expect(first.status?.soak).toEqual({ startTime: iso(101), restarts: 0 });
    expect(end(first)).toBeUndefined();
    const soaking = { soak: { startTime: iso(101), restarts: 0 } };
    expect(end(plan(claimed(soaking), observed({ observation: observe(110, true, 109) }), at(110)))).toBeUndefined();
    const last = plan(claimed(soaking), observed({ observation: observe(111, true, 110) }), at(111));
    expect(end(last)).toBe('Resolved');
    expect(findReason(last, 'Verified')).toBe('ChecksHeld');
  });

  it('restarts the soak when a check fails', () => {
    const soaking = claimed({ soak: { startTime: iso(101), restarts: 0 } });
    const made = plan(soaking, observed({ observation: observe(105, false, 104) }), at(105));
    expect(made.status?.soak).toEqual({ restarts: 1 });
    expect(made.notes.map((note) => note.reason)).toContain('SoakRestarted');
  });

  it('ends the attempt with ChecksFailed when the checks fail throughout the grace period', () => {
    expect(lastReason(plan(claimed(), observed({ observation: observe(159, false) }), at(159)))).toBe('Claimed');
    const made = plan(claimed(), observed({ observation: observe(160, false) }), at(160));
    expect(made.status?.attempts?.[0]).toMatchObject({ reason: 'ChecksFailed', endTime: iso(100) });
    expect(made.status?.attempts?.[0]?.message).toBe(
      'the agent claimed Fixed: did it\nbut the checks did not hold:\nc: object.x = false\ncause according to the agent: r',
    );
  });

  it('is not confirmed when a workload of the baseline was deleted, and names it', () => {
    const gone: Observation = {
      name: 'baseline',
      passing: false,
      observed: 'StatefulSet tikv/tikv-tikv is gone, it had 3 replicas',
      time: iso(101),
    };
    const standing = { observations: [sees(101, true), gone], lastObserved: undefined };
    const made = plan(claimed(), observed({ observation: standing }), at(101));
    expect(findReason(made, 'Verified')).toBe('BaselineBroken');
    expect(made.status?.soak).toEqual({ restarts: 0 });
    const last = plan(claimed(), observed({ observation: standing }), at(160));
    expect(lastReason(last)).toBe('ChecksFailed');
    expect(last.status?.attempts?.[0]?.message).toContain('baseline: StatefulSet tikv/tikv-tikv is gone');
    expect(last.notes.find((note) => note.reason === 'ChecksFailed')?.note).toContain('failing: baseline');
  });

  it.each([
    ['NothingToRepair', { count: 0, last: [] }, 'nothing was changed'],
    [
      'HealthyButChanged',
      { count: 2, last: [{ attempt: 1, seq: 9, plane: 'kubernetes', text: 'patch apps/statefulsets tikv/t' }] },
      'has seen 2 writes, the last: patch apps/statefulsets tikv/t',
    ],
    // The gateway has not reported a count.
    ['Verified', undefined, 'NothingWrong'],
  ])('of NothingWrong is Resolved with %s', (reason, changes, text) => {
    const soaked = claimed({
      claim: claim(1, 'NothingWrong', 100),
      soak: { startTime: iso(101), restarts: 0 },
      ...(changes === undefined ? {} : { changes }),
    });
    const made = plan(soaked, observed({ observation: observe(111, true, 110) }), at(111));
    expect(end(made)).toBe('Resolved');
    expect(findReason(made, 'Finished')).toBe(reason);
    expect(findCondition(made.status?.conditions, 'Finished')?.message).toContain(text);
  });

  it('of NothingWrong is not confirmed while a check fails', () => {
    const wrong = claimed({ claim: claim(1, 'NothingWrong', 100), changes: { count: 0, last: [] } });
    expect(lastReason(plan(wrong, observed({ observation: observe(160, false) }), at(160)))).toBe('ChecksFailed');
  });

  it('may finish a running soak after the grace period', () => {
    const soaking = claimed({ soak: { startTime: iso(155), restarts: 3 } });
    expect(lastReason(plan(soaking, observed({ observation: observe(161, true, 160) }), at(161)))).toBe('Claimed');
  });

  it('is Escalated when the agent claims CannotFix', () => {
    const given = claimed({ claim: claim(1, 'CannotFix', 100) });
    expect(needsObservation(given, at(101))).toBe(true);
    expect(end(plan(given, observed(), at(101)))).toBeUndefined();
    const made = plan(given, observed({ observation: observe(101, false) }), at(101));
    expect(findReason(made, 'Finished')).toBe('AgentEscalated');
    expect(made.status?.verification?.[0]).toMatchObject({ passing: false, observedTime: iso(101) });
  });

  it('is subject to the time limit only', () => {
    const counts = {
      turns: 60,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 1,
      cacheWriteTokens: 1,
    };
    const usage = { ...counts, costMilliUSD: 1, limitReached: 'turns' };
    expect(end(plan(claimed({ usage }), observed({ observation: observe(101, true) }), at(101)))).toBeUndefined();
    expect(findReason(plan(claimed(), observed({ observation: observe(900, true) }), at(900)), 'Finished')).toBe(
      'LimitReached',
    );
  });

  it('does not end the Incident while it is suspended', () => {
    const soaked = claimed({ soak: { startTime: iso(101), restarts: 0 } }, { suspend: true });
    const made = plan(soaked, observed({ observation: observe(112, true, 111) }), at(112));
    expect(end(made)).toBeUndefined();
    expect(made.status?.message).toContain('suspended; otherwise it would be Resolved');
  });

  it('writes unchanged results only every few seconds', () => {
    const before = claimed({
      soak: { startTime: iso(101), restarts: 0 },
      verification: [
        { name: 'c', passing: true, observed: 'object.x = true', observedTime: iso(101), passingSince: iso(101) },
      ],
      phase: 'Verifying',
    });
    const once = plan(before, observed({ observation: observe(103, true, 102) }), at(103));
    expect(once.status?.verification?.[0]?.observedTime).toBe(iso(101));
    const later = plan(before, observed({ observation: observe(110, true, 109) }), at(110));
    expect(later.status?.verification?.[0]?.observedTime).toBe(iso(110));
  });
});
