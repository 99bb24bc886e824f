// The plan of an Incident, state by state: what follows from what.

import { describe, expect, it } from 'vitest';
import { CONDITIONS } from '../../api/incident.ts';
import { findCondition } from '../../api/meta.ts';
import type { Observation } from '../../verify/observation.ts';
import type { Plan } from './draft.ts';
import { plan, wantsLook } from './plan.ts';
import { at, attempt, begun, claim, condition, incident, iso, observed, sees } from './plan-fixtures.ts';
import type { PodState } from './pod-state.ts';

const types = (made: Plan) => made.actions.map((action) => action.type);
const reasonOf = (made: Plan, type: keyof typeof CONDITIONS) =>
  findCondition(made.status?.conditions, CONDITIONS[type])?.reason;
const end = (made: Plan) => findCondition(made.status?.conditions, CONDITIONS.AuditSealed)?.message;
const lastReason = (made: Plan) => made.status?.attempts?.at(-1)?.reason;
const podOf = (state: PodState, parts: object = {}) => ({
  name: 'p',
  uid: 'u1',
  attempt: 1,
  deleting: false,
  state,
  ...parts,
});
const running = begun([attempt(1, { podUID: 'u1' })]);

describe('a new Incident', () => {
  it('gets its finalizer, is accepted and started in one go', () => {
    const made = plan(incident({ metadata: { finalizers: undefined } }), observed(), at(0));
    expect(types(made)).toEqual(['add-finalizer', 'start-attempt']);
    expect(made.status).toMatchObject({ phase: 'Running', observedGeneration: 1, startTime: iso(0) });
    expect(made.status?.attempts).toEqual([
      expect.objectContaining({
        number: 1,
        podName: 'broken-0a1b2c3d-1',
        sessionID: expect.stringContaining('0a1b2c3d'),
      }),
    ]);
    expect(made.notes.map((note) => note.reason)).toEqual(['Accepted', 'AttemptStarted']);
  });

  it('waits for whoever works on its namespace, and says for whom', () => {
    const blocker = { namespace: 'a', name: 'other', target: 'tikv', working: true };
    const made = plan(incident(), observed({ blocker }), at(0));
    expect(made.status?.message).toBe('waiting for Incident a/other, which works on namespace tikv');
    expect(reasonOf(made, 'Reconciling')).toBe('Queued');
    expect(types(made)).toEqual([]);
  });

  it('does not start while it is suspended', () => {
    expect(types(plan(incident({ spec: { suspend: true } }), observed(), at(0)))).toEqual([]);
  });

  it('is over at once when it is cancelled', () => {
    const made = plan(incident({ spec: { cancel: true } }), observed(), at(0));
    expect(end(made)).toBe('Cancelled');
    expect(made.status?.attempts).toBeUndefined();
  });
});

describe('an attempt on record without a pod', () => {
  const podless = incident({ status: begun([attempt(1)]) });

  it('is started, whoever was interrupted there', () => {
    expect(types(plan(podless, observed(), at(1)))).toEqual(['start-attempt']);
  });

  it('ends StartFailed after a minute, with what hindered it', () => {
    const made = plan(podless, observed({ startProblem: 'rolebindings is forbidden' }), at(61));
    expect(lastReason(made)).toBe('StartFailed');
    expect(made.status?.attempts?.[0]?.message).toBe('rolebindings is forbidden');
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('is not started any more once the Incident is cancelled', () => {
    const made = plan(incident({ status: begun([attempt(1)]), spec: { cancel: true } }), observed(), at(1));
    expect(types(made)).not.toContain('start-attempt');
    expect(lastReason(made)).toBe('Cancelled');
  });
});

describe('a running attempt', () => {
  it('goes on while its pod runs', () => {
    const made = plan(incident({ status: running }), observed({ pod: podOf({ type: 'running' }) }), at(5));
    expect(reasonOf(made, 'AgentRunning')).toBe('PodRunning');
    expect(types(made)).toEqual([]);
  });

  it.each<[string, ReturnType<typeof podOf> | undefined, string]>([
    ['is gone', undefined, 'is gone'],
    ['is another one of the same name', podOf({ type: 'running' }, { uid: 'u2' }), 'is gone'],
    ['is being deleted', podOf({ type: 'running' }, { deleting: true }), 'deleted or evicted'],
    ['failed', podOf({ type: 'ended', completed: false, message: 'the pod failed: Evicted' }), 'Evicted'],
    [
      'ended without a claim',
      podOf({ type: 'ended', completed: true, message: 'the agent ended' }),
      'without a conclusion',
    ],
  ])('is Interrupted when its pod %s', (_what, pod, message) => {
    const made = plan(incident({ status: running }), observed({ pod }), at(5));
    expect(lastReason(made)).toBe('Interrupted');
    expect(made.status?.attempts?.[0]).toMatchObject({ endTime: iso(5), message: expect.stringContaining(message) });
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('waits a minute for an image that cannot be pulled, five for a pod that is merely slow', () => {
    const stuck = observed({ pod: podOf({ type: 'starting', problem: 'ErrImagePull' }) });
    const slow = observed({ pod: podOf({ type: 'starting' }) });
    expect(lastReason(plan(incident({ status: running }), stuck, at(59)))).toBeUndefined();
    expect(lastReason(plan(incident({ status: running }), stuck, at(61)))).toBe('StartFailed');
    expect(lastReason(plan(incident({ status: running }), slow, at(299)))).toBeUndefined();
    expect(lastReason(plan(incident({ status: running }), slow, at(301)))).toBe('StartFailed');
  });

  it('ends with the claim, even if the pod is gone by then', () => {
    const claimed = incident({ status: { ...running, claim: claim(1, 'Fixed') } });
    const made = plan(claimed, observed(), at(5));
    expect(lastReason(made)).toBe('Claimed');
    expect(made.status?.phase).toBe('Verifying');
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('does not end with the claim of an earlier attempt', () => {
    const status = begun([attempt(1, { endTime: iso(1), reason: 'ChecksFailed' }), attempt(2, { podUID: 'u1' })], {
      claim: claim(1, 'Fixed'),
    });
    const made = plan(incident({ status }), observed({ pod: podOf({ type: 'running' }, { attempt: 2 }) }), at(5));
    expect(lastReason(made)).toBeUndefined();
  });

  it('ends LimitReached when time is up or the gateway says that something is spent', () => {
    const pod = podOf({ type: 'running' });
    expect(lastReason(plan(incident({ status: running }), observed({ pod }), at(900)))).toBe('LimitReached');
    const counts = {
      turns: 60,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 1,
      cacheWriteTokens: 1,
    };
    const status = { ...running, usage: { ...counts, costMilliUSD: 1, exhausted: 'turns' } };
    const made = plan(incident({ status }), observed({ pod }), at(5));
    expect(made.status?.attempts?.[0]).toMatchObject({
      reason: 'LimitReached',
      message: 'the limit of 60 turns is reached',
    });
  });

  it('wakes up for the time limit', () => {
    const made = plan(incident({ status: running }), observed({ pod: podOf({ type: 'running' }) }), at(890));
    expect(made.wakeAfterMs).toBe(10_000);
  });

  it('goes on while the Incident is suspended', () => {
    const made = plan(
      incident({ status: running, spec: { suspend: true } }),
      observed({ pod: podOf({ type: 'running' }) }),
      at(5),
    );
    expect(lastReason(made)).toBeUndefined();
  });
});

describe('between attempts', () => {
  const ended = (reason: 'Interrupted' | 'ChecksFailed' | 'LimitReached' | 'StartFailed') =>
    attempt(1, { podUID: 'u1', endTime: iso(5), reason, message: 'why' });

  it.each(['Interrupted', 'ChecksFailed', 'StartFailed'] as const)('the next one starts after %s', (reason) => {
    const made = plan(incident({ status: begun([ended(reason)]) }), observed(), at(6));
    expect(types(made)).toEqual(['start-attempt']);
    expect(made.status?.attempts).toHaveLength(2);
    expect(made.status?.startTime).toBe(iso(0));
  });

  it('the next one waits until the old pod is gone, but not for ever', () => {
    const status = begun([ended('Interrupted')]);
    expect(types(plan(incident({ status }), observed({ oldPods: 1 }), at(6)))).toEqual([]);
    expect(types(plan(incident({ status }), observed({ oldPods: 1 }), at(70)))).toEqual(['start-attempt']);
  });

  it('none is started when all are used up', () => {
    const status = begun([
      ended('Interrupted'),
      attempt(2, { endTime: iso(9), reason: 'ChecksFailed', message: 'evidence' }),
    ]);
    // Not before somebody has looked how things stand.
    expect(wantsLook(incident({ status }), at(10))).toBe(true);
    expect(end(plan(incident({ status }), observed(), at(10)))).toBeUndefined();
    const look = { observations: [sees(10, true)], lastLook: undefined };
    const made = plan(incident({ status }), observed({ look }), at(10));
    expect(end(made)).toBe('Escalated');
    expect(reasonOf(made, 'Finished')).toBe('AttemptsExhausted');
    expect(made.status?.message).toContain('evidence');
    expect(made.status?.verification?.[0]).toMatchObject({ passing: true, observedTime: iso(10) });
  });

  it('one that is suspended says what it would do, and is not looked at for it', () => {
    const held = incident({ status: begun([ended('LimitReached')]), spec: { suspend: true } });
    expect(wantsLook(held, at(6))).toBe(false);
    const made = plan(held, observed(), at(6));
    expect(end(made)).toBeUndefined();
    expect(made.status?.message).toContain('it would be Escalated');
  });

  it('none is started after a limit was reached', () => {
    const spent = incident({ status: begun([ended('LimitReached')]) });
    const look = { observations: [sees(6, false)], lastLook: undefined };
    expect(reasonOf(plan(spent, observed({ look }), at(6)), 'Finished')).toBe('LimitReached');
  });

  it('the old one is cleaned up again by whoever does not know that it was', () => {
    const made = plan(incident({ status: begun([ended('Interrupted')]) }), observed({ cleaned: new Set() }), at(6));
    expect(made.actions[0]).toEqual({ type: 'clean-attempt', attempt: 1 });
  });
});

describe('a claimed repair', () => {
  const claimed = (more: object = {}, spec: object = {}) =>
    incident({
      spec,
      status: begun([attempt(1, { podUID: 'u1', endTime: iso(100), reason: 'Claimed' })], {
        claim: claim(1, 'Fixed', 100),
        ...more,
      }),
    });
  const look = (second: number, passing: boolean, lastLook?: number) => ({
    observations: [sees(second, passing)],
    lastLook: lastLook === undefined ? undefined : iso(lastLook),
  });

  it('is looked at; one that cannot be, or is over, is not', () => {
    expect(wantsLook(claimed(), at(101))).toBe(true);
    expect(wantsLook(incident({ status: running }), at(101))).toBe(false);
    expect(wantsLook(claimed({}, { cancel: true }), at(101))).toBe(false);
  });

  it('is Resolved only after the whole soak', () => {
    const first = plan(claimed(), observed({ look: look(101, true) }), at(101));
    expect(first.status?.soak).toEqual({ startTime: iso(101), restarts: 0 });
    expect(end(first)).toBeUndefined();
    const soaking = { soak: { startTime: iso(101), restarts: 0 } };
    expect(end(plan(claimed(soaking), observed({ look: look(110, true, 109) }), at(110)))).toBeUndefined();
    const last = plan(claimed(soaking), observed({ look: look(111, true, 110) }), at(111));
    expect(end(last)).toBe('Resolved');
    expect(reasonOf(last, 'Verified')).toBe('ChecksHeld');
  });

  it('that breaks in the soak starts it again', () => {
    const soaking = claimed({ soak: { startTime: iso(101), restarts: 0 } });
    const made = plan(soaking, observed({ look: look(105, false, 104) }), at(105));
    expect(made.status?.soak).toEqual({ restarts: 1 });
    expect(made.notes.map((note) => note.reason)).toContain('SoakRestarted');
  });

  it('that does not come true within the grace is an attempt with ChecksFailed', () => {
    expect(lastReason(plan(claimed(), observed({ look: look(159, false) }), at(159)))).toBe('Claimed');
    const made = plan(claimed(), observed({ look: look(160, false) }), at(160));
    expect(made.status?.attempts?.[0]).toMatchObject({ reason: 'ChecksFailed', endTime: iso(100) });
    expect(made.status?.attempts?.[0]?.message).toBe(
      'the agent claimed Fixed: did it\nbut the checks did not hold:\nc: object.x = false\nthe cause, as it saw it: r',
    );
  });

  it('does not count when the patient was taken away, and says so by name', () => {
    const gone: Observation = {
      name: 'baseline',
      passing: false,
      observed: 'StatefulSet tikv/tikv-tikv is gone, it had 3 replicas',
      time: iso(101),
    };
    const standing = { observations: [sees(101, true), gone], lastLook: undefined };
    const made = plan(claimed(), observed({ look: standing }), at(101));
    expect(reasonOf(made, 'Verified')).toBe('BaselineBroken');
    expect(made.status?.soak).toEqual({ restarts: 0 });
    const last = plan(claimed(), observed({ look: standing }), at(160));
    expect(lastReason(last)).toBe('ChecksFailed');
    expect(last.status?.attempts?.[0]?.message).toContain('baseline: StatefulSet tikv/tikv-tikv is gone');
    expect(last.notes.find((note) => note.reason === 'ChecksFailed')?.note).toContain('failing: baseline');
  });

  it.each([
    ['NothingToRepair', { count: 0, last: [] }, 'nothing was changed'],
    [
      'NothingWrongButChanged',
      { count: 2, last: [{ attempt: 1, seq: 9, plane: 'kubernetes', text: 'patch apps/statefulsets tikv/t' }] },
      'has seen 2 writes, the last: patch apps/statefulsets tikv/t',
    ],
    // Nobody has counted.
    ['Verified', undefined, 'NothingWrong'],
  ])('of a false alarm is Resolved with %s', (reason, changes, text) => {
    const soaked = claimed({
      claim: claim(1, 'NothingWrong', 100),
      soak: { startTime: iso(101), restarts: 0 },
      ...(changes === undefined ? {} : { changes }),
    });
    const made = plan(soaked, observed({ look: look(111, true, 110) }), at(111));
    expect(end(made)).toBe('Resolved');
    expect(reasonOf(made, 'Finished')).toBe(reason);
    expect(findCondition(made.status?.conditions, 'Finished')?.message).toContain(text);
  });

  it('that nothing was wrong is no repair of what is broken', () => {
    const wrong = claimed({ claim: claim(1, 'NothingWrong', 100), changes: { count: 0, last: [] } });
    expect(lastReason(plan(wrong, observed({ look: look(160, false) }), at(160)))).toBe('ChecksFailed');
  });

  it('may finish a soak that runs when the grace is over', () => {
    const soaking = claimed({ soak: { startTime: iso(155), restarts: 3 } });
    expect(lastReason(plan(soaking, observed({ look: look(161, true, 160) }), at(161)))).toBe('Claimed');
  });

  it('is Escalated when the agent says that it cannot', () => {
    const given = claimed({ claim: claim(1, 'CannotFix', 100) });
    expect(wantsLook(given, at(101))).toBe(true);
    expect(end(plan(given, observed(), at(101)))).toBeUndefined();
    const made = plan(given, observed({ look: look(101, false) }), at(101));
    expect(reasonOf(made, 'Finished')).toBe('AgentEscalated');
    expect(made.status?.verification?.[0]).toMatchObject({ passing: false, observedTime: iso(101) });
  });

  it('counts no turns any more, but time', () => {
    const counts = {
      turns: 60,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 1,
      cacheWriteTokens: 1,
    };
    const usage = { ...counts, costMilliUSD: 1, exhausted: 'turns' };
    expect(end(plan(claimed({ usage }), observed({ look: look(101, true) }), at(101)))).toBeUndefined();
    expect(reasonOf(plan(claimed(), observed({ look: look(900, true) }), at(900)), 'Finished')).toBe('LimitReached');
  });

  it('does not close while the Incident is suspended', () => {
    const soaked = claimed({ soak: { startTime: iso(101), restarts: 0 } }, { suspend: true });
    const made = plan(soaked, observed({ look: look(112, true, 111) }), at(112));
    expect(end(made)).toBeUndefined();
    expect(made.status?.message).toContain('suspended; it would be Resolved');
  });

  it('writes results that say nothing new only every few seconds', () => {
    const before = claimed({
      soak: { startTime: iso(101), restarts: 0 },
      verification: [
        { name: 'c', passing: true, observed: 'object.x = true', observedTime: iso(101), passingSince: iso(101) },
      ],
      phase: 'Verifying',
    });
    const once = plan(before, observed({ look: look(103, true, 102) }), at(103));
    expect(once.status?.verification?.[0]?.observedTime).toBe(iso(101));
    const later = plan(before, observed({ look: look(110, true, 109) }), at(110));
    expect(later.status?.verification?.[0]?.observedTime).toBe(iso(110));
  });
});

describe('a decided end', () => {
  const sealing = (more: object = {}, conditions: object[] = []) =>
    incident({
      status: begun([attempt(1, { endTime: iso(1), reason: 'Claimed' })], {
        conditions: [
          condition('AuditSealed', 'False', 'SealRequested', 'Resolved'),
          condition('Finished', 'False', 'Verified', 'all checks have held'),
          ...conditions,
        ],
        ...more,
      }),
    });
  const both = [condition('Verified', 'True', 'ChecksHeld'), condition('RepairClaimed', 'True', 'Fixed')];
  const clean = observed({ cleaned: new Set(['incident']) });
  const succeeded = (made: Plan) => findCondition(made.status?.conditions, CONDITIONS.Succeeded)?.status;

  it('waits for the seal', () => {
    const made = plan(sealing(), clean, at(10));
    expect(made.status).toBeUndefined();
    expect(made.wakeAfterMs).toBe(50_000);
  });

  it('is not Finished before everything is cleaned up', () => {
    const made = plan(sealing({ audit: { finalHeadHash: 'h' } }, both), observed(), at(10));
    expect(types(made)).toEqual(['clean-incident']);
    expect(made.status).toBeUndefined();
  });

  it('finishes with the sealed head, and frees the object', () => {
    const made = plan(sealing({ audit: { finalHeadHash: 'h' } }, both), clean, at(10));
    expect(made.status).toMatchObject({ phase: 'Resolved', finishTime: iso(10), audit: { sealedHeadHash: 'h' } });
    expect(succeeded(made)).toBe('True');
    expect(types(made)).toEqual(['remove-finalizer']);
    expect(made.status?.conditions?.map((one) => one.type)).not.toContain('RepairClaimed');
  });

  it.each([
    ['a claim', both.slice(0, 1)],
    ['verification', both.slice(1)],
  ])('does not succeed without %s', (_what, conditions) => {
    expect(succeeded(plan(sealing({ audit: { finalHeadHash: 'h' } }, conditions), clean, at(10)))).toBe('False');
  });

  it('that is Escalated is handed over', () => {
    const escalated = sealing({
      audit: { finalHeadHash: 'h' },
      conditions: [
        condition('AuditSealed', 'False', 'SealRequested', 'Escalated'),
        condition('Finished', 'False', 'AgentEscalated', 'the agent cannot fix it'),
      ],
      claim: claim(1, 'CannotFix'),
      verification: [{ name: 'c', passing: false, observed: 'object.x = false', observedTime: iso(9) }],
    });
    const made = plan(escalated, clean, at(10));
    expect(made.status?.handover?.wrong).toContain('c: object.x = false');
    expect(made.notes.map((note) => note.reason)).toEqual(['HandedOver', 'Escalated']);
    expect(plan(sealing({ audit: { finalHeadHash: 'h' } }, both), clean, at(10)).status?.handover).toBeUndefined();
  });

  it('finishes without the seal after a minute', () => {
    const made = plan(sealing({}, both), clean, at(60));
    expect(reasonOf(made, 'AuditSealed')).toBe('GatewayUnavailable');
    expect(made.status?.phase).toBe('Resolved');
  });

  it('cannot be cancelled any more', () => {
    const late = sealing({ audit: { finalHeadHash: 'h' } }, both);
    const made = plan({ ...late, spec: { ...late.spec, cancel: true } }, clean, at(10));
    expect(made.status?.phase).toBe('Resolved');
  });
});

describe('deletion', () => {
  it('cleans up and frees the object, whatever the state', () => {
    const deleting = incident({ status: running, metadata: { deletionTimestamp: iso(1) } });
    const made = plan(deleting, observed(), at(2));
    expect(types(made)).toEqual(['clean-attempt', 'clean-incident', 'remove-finalizer']);
    // The log stays, and shall tell how the attempt ended.
    expect(made.status?.attempts?.[0]).toMatchObject({ reason: 'Deleted', endTime: iso(2) });
  });

  it('of a finished Incident has nothing to do', () => {
    const gone = incident({ metadata: { deletionTimestamp: iso(1), finalizers: ['someone.else/finalizer'] } });
    expect(types(plan(gone, observed(), at(2)))).toEqual([]);
  });
});

it('what the gateway owns is never in the status that the controller writes', () => {
  const status = { ...running, claim: claim(1, 'Fixed'), audit: { entries: 3 } };
  const made = plan(incident({ status }), observed(), at(5));
  expect(made.status).toBeDefined();
  for (const field of ['claim', 'usage', 'audit']) expect(made.status).not.toHaveProperty(field);
});
