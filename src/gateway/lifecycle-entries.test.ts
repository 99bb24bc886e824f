// The lifecycle entries of an Incident: every step once, whichever versions the gateway saw.

import { describe, expect, it } from 'vitest';
import { anIncident } from '../../test/support/an-incident.ts';
import type { Incident } from '../api/incident.ts';
import type { Entry } from '../audit/entry.ts';
import { lifecycleEntries, type RecordedState, recordedState, restore } from './lifecycle-entries.ts';

const NOTHING_RECORDED: RecordedState = restore([]);

const attempt = (number: number, change: object = {}) => ({
  number,
  sessionID: 'u',
  podName: `p-${number}`,
  serviceAccountName: `p-${number}`,
  class: { name: 'default', generation: 1, mode: 'Repair', model: 'm', summaryModel: 's', maxOutputTokens: 1 },
  startTime: '2026-11-22T10:00:00Z',
  ...change,
});
const check = (name: string, passing: boolean, time: string) => ({
  name,
  passing,
  observedTime: time,
  ...(passing ? { passingSince: time } : {}),
});
const incident = (status: object, spec: object = {}): Incident =>
  anIncident({
    metadata: { name: 'n', namespace: 'ns', uid: 'u' },
    spec: { summary: 'down', verify: { checks: [{ name: 'up' }] }, ...spec },
    status,
  });
const keys = (recorded: RecordedState, now: Incident) =>
  lifecycleEntries(recorded, now).map(({ entry }) => entry.clientKey);

describe('lifecycleEntries', () => {
  it('derives the whole lifecycle from the last status', () => {
    const status = {
      attempts: [
        attempt(2, { podUID: 'uid-2' }),
        attempt(1, { podUID: 'uid-1', endTime: '2026-11-22T10:01:00Z', reason: 'ChecksFailed', message: 'no' }),
      ],
      verification: [check('a', true, 't1'), check('b', false, 't2')],
      soak: { restarts: 2 },
      conditions: [{ type: 'Verified', status: 'True', reason: 'x', message: '', lastTransitionTime: 't3' }],
    };
    const written = lifecycleEntries(NOTHING_RECORDED, incident(status, { cancel: true }));
    expect(written.map(({ attempt: number, entry }) => `${number} ${entry.clientKey}`)).toEqual([
      '0 opened',
      '1 attempt-started:1',
      '1 attempt-pod:1',
      '1 attempt-ended:1:ChecksFailed',
      '2 attempt-started:2',
      '2 attempt-pod:2',
      '2 check:a:passing:t1',
      '2 check:b:failing:t2',
      '2 soak-restarted:1',
      '2 soak-restarted:2',
      '2 verified:t3',
      '2 cancel-requested',
    ]);
  });

  it('gives the same entry for the same step, whatever else has changed', () => {
    const early = incident({ attempts: [attempt(1)] });
    const late = incident({ attempts: [attempt(1, { podUID: 'x', endTime: 't', reason: 'Claimed' }), attempt(2)] });
    const of = (now: Incident) =>
      lifecycleEntries(NOTHING_RECORDED, now).find(({ entry }) => entry.clientKey === 'attempt-started:1');
    expect(of(late)).toEqual(of(early));
  });

  it('records a check only when it changes', () => {
    const before = incident({ verification: [check('a', true, 't1')] });
    const recorded = recordedState(before);
    expect(keys(recorded, incident({ verification: [check('a', true, 't2')] }))).toEqual(['opened']);
    expect(keys(recorded, incident({ verification: [check('a', false, 't3')] }))).toEqual([
      'opened',
      'check:a:failing:t3',
    ]);
  });

  it('records that the checks did not confirm the claim that ended an attempt', () => {
    const claimed = attempt(1, { endTime: 't', reason: 'Claimed' });
    expect(keys(NOTHING_RECORDED, incident({ attempts: [claimed] }))).toContain('attempt-ended:1:Claimed');
    const ended = { ...claimed, reason: 'ChecksFailed' };
    expect(keys(NOTHING_RECORDED, incident({ attempts: [ended] }))).toContain('attempt-ended:1:ChecksFailed');
  });
});

describe('restore', () => {
  it('restores what the status no longer contains, from entries of the gateway only', () => {
    const first = lifecycleEntries(
      NOTHING_RECORDED,
      incident({ verification: [check('a', true, 't1')], soak: { restarts: 1 } }),
    );
    const second = lifecycleEntries(
      { checks: new Map([['a', true]]), soakRestarts: 1 },
      incident({ verification: [check('a', false, 't2')], soak: { restarts: 1 } }),
    );
    const entries = [...first, ...second].map(
      ({ entry }): Pick<Entry, 'kind' | 'writer' | 'params'> => ({
        kind: entry.kind,
        writer: 'gateway',
        params: entry.params ?? null,
      }),
    );
    const forged = {
      kind: 'lifecycle' as const,
      writer: 'agent' as const,
      params: { event: 'check', check: 'a', passing: true },
    };
    const recorded = restore([...entries, forged]);
    expect(recorded).toEqual({ checks: new Map([['a', false]]), soakRestarts: 1 });
  });
});
