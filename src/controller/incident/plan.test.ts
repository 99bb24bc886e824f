// The plan of an Incident, state by state.

import { describe, expect, it } from 'vitest';
import {
  at,
  attempt,
  begun,
  claim,
  end,
  findReason,
  firstObservation,
  incident,
  iso,
  lastReason,
  observed,
  running,
  sees,
  types,
} from '../../../test/support/incident-fixtures.ts';
import { needsObservation, plan } from './plan.ts';
import { findEscalation } from './plan-start.ts';
import type { PodState } from './pod-state.ts';

const buildPod = (state: PodState, parts: object = {}) => ({
  name: 'p',
  uid: 'u1',
  attempt: 1,
  deleting: false,
  state,
  ...parts,
});

describe('a new Incident', () => {
  it('gets its finalizer, is accepted and started in one go', () => {
    const made = plan(incident({ metadata: { finalizers: undefined } }), observed(), at(0));
    expect(types(made)).toEqual(['add-finalizer', 'prepare-attempt', 'observe-baseline']);
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

  it('waits for the Incident that works on its namespace, and names it', () => {
    const blocker = { namespace: 'a', name: 'other', target: 'tikv', working: true };
    const made = plan(incident(), observed({ blocker }), at(0));
    expect(made.status?.message).toBe('waiting for Incident a/other, which works on namespace tikv');
    expect(findReason(made, 'Reconciling')).toBe('Queued');
    expect(types(made)).toEqual([]);
  });

  it('does not start while it is suspended', () => {
    expect(types(plan(incident({ spec: { suspend: true } }), observed(), at(0)))).toEqual([]);
  });

  it('ends at once when it is cancelled', () => {
    const made = plan(incident({ spec: { cancel: true } }), observed(), at(0));
    expect(end(made)).toBe('Cancelled');
    expect(made.status?.attempts).toBeUndefined();
  });
});

describe('an attempt on record without a pod', () => {
  const podless = incident({ status: begun([attempt(1)]) });

  it('is started after an interruption', () => {
    expect(types(plan(podless, observed(), at(1)))).toEqual(['prepare-attempt', 'observe-baseline']);
  });

  it('gets its pod in the plan that records the observed baseline', () => {
    const made = plan(podless, observed({ learned: { attempt: 1, firstObservation } }), at(1));
    expect(made.status).toMatchObject(firstObservation);
    expect(types(made)).toEqual(['create-pod']);
  });

  it('records the UID of the created pod, and creates no other', () => {
    const made = plan(podless, observed({ learned: { attempt: 1, podUID: 'u1' } }), at(1));
    expect(made.status?.attempts).toMatchObject([{ number: 1, podUID: 'u1' }]);
    expect(types(made)).toEqual([]);
  });

  it('ignores what was learned about an earlier attempt', () => {
    const second = incident({ status: begun([attempt(1, { endTime: iso(0), podUID: 'u1' }), attempt(2)]) });
    const made = plan(second, observed({ learned: { attempt: 1, podUID: 'u1' } }), at(1));
    expect(made.status?.attempts?.at(-1)?.podUID).toBeUndefined();
    expect(types(made)).toEqual(['prepare-attempt', 'create-pod']);
  });

  it('ends StartFailed after a minute, with the problem', () => {
    const made = plan(podless, observed({ startProblem: 'rolebindings is forbidden' }), at(61));
    expect(lastReason(made)).toBe('StartFailed');
    expect(made.status?.attempts?.[0]?.message).toBe('rolebindings is forbidden');
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('is not started any more once the Incident is cancelled', () => {
    const made = plan(incident({ status: begun([attempt(1)]), spec: { cancel: true } }), observed(), at(1));
    expect(types(made)).not.toContain('prepare-attempt');
    expect(lastReason(made)).toBe('Cancelled');
  });
});

describe('a running attempt', () => {
  it('goes on while its pod runs', () => {
    const made = plan(incident({ status: running }), observed({ pod: buildPod({ type: 'running' }) }), at(5));
    expect(findReason(made, 'AgentRunning')).toBe('PodRunning');
    expect(types(made)).toEqual([]);
  });

  it.each<[string, ReturnType<typeof buildPod> | undefined, string]>([
    ['is gone', undefined, 'is gone'],
    ['is another one of the same name', buildPod({ type: 'running' }, { uid: 'u2' }), 'is gone'],
    ['is being deleted', buildPod({ type: 'running' }, { deleting: true }), 'deleted or evicted'],
    ['failed', buildPod({ type: 'ended', completed: false, message: 'the pod failed: Evicted' }), 'Evicted'],
    [
      'ended without a claim',
      buildPod({ type: 'ended', completed: true, message: 'the agent ended' }),
      'without a conclusion',
    ],
    [
      'ended with a reason that another attempt may not meet',
      buildPod({ type: 'ended', completed: true, message: 'the agent ended', report: { message: 'it said nothing' } }),
      'without a claim: it said nothing',
    ],
  ])('is Interrupted when its pod %s', (_what, pod, message) => {
    const made = plan(incident({ status: running }), observed({ pod }), at(5));
    expect(lastReason(made)).toBe('Interrupted');
    expect(made.status?.attempts?.[0]).toMatchObject({ endTime: iso(5), message: expect.stringContaining(message) });
    expect(types(made)).toEqual(['clean-attempt']);
  });

  it('is the last one if its agent leaves a reason that no attempt changes', () => {
    const refusal = { model: 'claude-opus-5-5', category: 'cyber', requestID: 'req_1' };
    const report = { code: 'OPLAB_MODEL_KEY_REFUSED', message: 'put a valid key into the Secret', refusal };
    const pod = buildPod({ type: 'ended', completed: true, message: 'the agent ended', report });
    const made = plan(incident({ status: running }), observed({ pod }), at(5));
    expect(lastReason(made)).toBe('ModelFailed');
    const message = 'OPLAB_MODEL_KEY_REFUSED: put a valid key into the Secret';
    expect(made.status?.attempts?.[0]).toMatchObject({ message, refusal });
    expect(types(made)).toEqual(['clean-attempt']);
    const then = plan(incident({ status: { ...running, attempts: made.status?.attempts } }), observed(), at(6));
    expect(types(then)).not.toContain('create-pod');
    const over = findEscalation({ ...running, attempts: made.status?.attempts }, at(6));
    expect(over).toEqual({ reason: 'ModelFailed', message });
  });

  it('waits one minute for an image that cannot be pulled, five for a pod that is only slow', () => {
    const stuck = observed({ pod: buildPod({ type: 'starting', problem: 'ErrImagePull' }) });
    const slow = observed({ pod: buildPod({ type: 'starting' }) });
    expect(lastReason(plan(incident({ status: running }), stuck, at(59)))).toBeUndefined();
    expect(lastReason(plan(incident({ status: running }), stuck, at(61)))).toBe('StartFailed');
    expect(lastReason(plan(incident({ status: running }), slow, at(299)))).toBeUndefined();
    expect(lastReason(plan(incident({ status: running }), slow, at(301)))).toBe('StartFailed');
  });

  it('ends with its claim, even if the pod is already gone', () => {
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
    const made = plan(incident({ status }), observed({ pod: buildPod({ type: 'running' }, { attempt: 2 }) }), at(5));
    expect(lastReason(made)).toBeUndefined();
  });

  it('ends LimitReached when time is up or the gateway reports a reached limit', () => {
    const pod = buildPod({ type: 'running' });
    expect(lastReason(plan(incident({ status: running }), observed({ pod }), at(900)))).toBe('LimitReached');
    const counts = {
      turns: 60,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 1,
      cacheWriteTokens: 1,
    };
    const status = { ...running, usage: { ...counts, costMilliUSD: 1, limitReached: 'turns' } };
    const made = plan(incident({ status }), observed({ pod }), at(5));
    expect(made.status?.attempts?.[0]).toMatchObject({
      reason: 'LimitReached',
      message: 'the limit of 60 turns is reached',
    });
  });

  it('is planned again at its time limit', () => {
    const made = plan(incident({ status: running }), observed({ pod: buildPod({ type: 'running' }) }), at(890));
    expect(made.requeueAfterMs).toBe(10_000);
  });

  it('goes on while the Incident is suspended', () => {
    const made = plan(
      incident({ status: running, spec: { suspend: true } }),
      observed({ pod: buildPod({ type: 'running' }) }),
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
    expect(types(made)).toEqual(['prepare-attempt', 'create-pod']);
    expect(made.status?.attempts).toHaveLength(2);
    expect(made.status?.startTime).toBe(iso(0));
  });

  it('the next one waits a limited time until the old pod is gone', () => {
    const status = begun([ended('Interrupted')]);
    expect(types(plan(incident({ status }), observed({ oldPods: 1 }), at(6)))).toEqual([]);
    expect(types(plan(incident({ status }), observed({ oldPods: 1 }), at(70)))).toEqual([
      'prepare-attempt',
      'create-pod',
    ]);
  });

  it('none is started when all are used up', () => {
    const status = begun([
      ended('Interrupted'),
      attempt(2, { endTime: iso(9), reason: 'ChecksFailed', message: 'evidence' }),
    ]);
    // Not before the checks were observed for the hand-over.
    expect(needsObservation(incident({ status }), at(10))).toBe(true);
    expect(end(plan(incident({ status }), observed(), at(10)))).toBeUndefined();
    const observation = { observations: [sees(10, true)], lastObserved: undefined };
    const made = plan(incident({ status }), observed({ observation }), at(10));
    expect(end(made)).toBe('Escalated');
    expect(findReason(made, 'Finished')).toBe('AttemptsExhausted');
    expect(made.status?.message).toContain('evidence');
    expect(made.status?.verification?.[0]).toMatchObject({ passing: true, observedTime: iso(10) });
  });

  it('a suspended Incident reports its would-be end without an observation', () => {
    const held = incident({ status: begun([ended('LimitReached')]), spec: { suspend: true } });
    expect(needsObservation(held, at(6))).toBe(false);
    const made = plan(held, observed(), at(6));
    expect(end(made)).toBeUndefined();
    expect(made.status?.message).toContain('otherwise it would be Escalated');
  });

  it('none is started after a limit was reached', () => {
    const spent = incident({ status: begun([ended('LimitReached')]) });
    const observation = { observations: [sees(6, false)], lastObserved: undefined };
    expect(findReason(plan(spent, observed({ observation }), at(6)), 'Finished')).toBe('LimitReached');
  });

  it('the old one is cleaned up again by a controller that does not know it was', () => {
    const made = plan(incident({ status: begun([ended('Interrupted')]) }), observed({ cleaned: new Set() }), at(6));
    expect(made.actions[0]).toEqual({ type: 'clean-attempt', attempt: 1 });
  });
});

it('what the gateway owns is never in the status that the controller writes', () => {
  const status = { ...running, claim: claim(1, 'Fixed'), audit: { entries: 3 } };
  const made = plan(incident({ status }), observed(), at(5));
  expect(made.status).toBeDefined();
  for (const field of ['claim', 'usage', 'audit']) expect(made.status).not.toHaveProperty(field);
});
