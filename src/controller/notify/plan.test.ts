import { describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import type { Incident } from '../../api/incident.ts';
import type { Notification } from '../../api/incident-status.ts';
import { BACKOFF, backoffStep, MAX_TRIES, planNotifications, type Try } from './plan.ts';
import type { Receiver } from './receiver.ts';

const NOW = new Date('2026-03-01T12:00:00Z');
const AGO = (ms: number) => new Date(NOW.getTime() - ms).toISOString();
const ALL: readonly Receiver[] = [
  { name: 'chat', type: 'slack', events: ['Escalated', 'Resolved'] },
  { name: 'pager', type: 'webhook', events: ['Escalated'] },
];

function ended(phase: string, notifications: Notification[] = [], finishTime = AGO(1000)): Incident {
  const condition = { type: 'Finished', status: 'True', reason: 'r', message: '', lastTransitionTime: finishTime };
  return anIncident({
    metadata: { name: 'i', namespace: 'n', uid: 'u' },
    spec: { summary: 's', verify: { checks: [{ name: 'c' }] } },
    status: { phase, finishTime, conditions: [condition], notifications },
  });
}
const row = (state: Notification['state'], rest: Partial<Notification> = {}): Notification => ({
  receiver: 'chat',
  event: 'Escalated',
  state,
  tries: 1,
  time: AGO(1000),
  ...rest,
});
const knows = (of: Notification, rest: Partial<Try> = {}): ReadonlyMap<string, Try> =>
  new Map([[`${of.receiver}/${of.event}`, { tries: of.tries, delivery: undefined, notBefore: undefined, ...rest }]]);
const ME = 'me';
const NOTHING: ReadonlyMap<string, Try> = new Map();
const makePlan = (
  incident: Incident,
  receivers: readonly Receiver[],
  tries: ReadonlyMap<string, Try>,
  now: Date,
  rest: { mayStart?: boolean } = {},
) => planNotifications(incident, { receivers, tries, sender: ME, now, ...rest });
const only = (...names: string[]) => ALL.filter(({ name }) => names.includes(name));

describe('a message that no process has begun', () => {
  it('goes to the receivers of its event, once the Incident has finished', () => {
    expect(makePlan(ended('Escalated'), ALL, NOTHING, NOW).send).toMatchObject([
      { receiver: 'chat', event: 'Escalated', state: 'Sending', tries: 1 },
      { receiver: 'pager', event: 'Escalated', state: 'Sending', tries: 1 },
    ]);
    expect(makePlan(ended('Resolved'), ALL, NOTHING, NOW).send).toMatchObject([{ receiver: 'chat' }]);
    expect(makePlan(ended('Cancelled'), ALL, NOTHING, NOW).rows).toBeUndefined();
    const running = ended('Escalated');
    expect(makePlan({ ...running, status: { phase: 'Escalated' } }, ALL, NOTHING, NOW).send).toEqual([]);
  });

  it('is written before it is sent', () => {
    const { rows, send } = makePlan(ended('Escalated'), only('pager'), NOTHING, NOW);
    expect(rows).toEqual(send);
  });

  it('is not sent about an old end to a new receiver', () => {
    expect(makePlan(ended('Escalated', [], AGO(2 * 3600_000)), ALL, NOTHING, NOW).send).toEqual([]);
  });

  it('is not begun by a process that is about to exit', () => {
    expect(makePlan(ended('Escalated'), ALL, NOTHING, NOW, { mayStart: false }).rows).toBeUndefined();
  });
});

describe('a message that is Sending', () => {
  it('by a process that is gone becomes Indeterminate permanently', () => {
    const lost = makePlan(ended('Escalated', [row('Sending')]), only('chat'), NOTHING, NOW);
    expect(lost).toMatchObject({
      send: [],
      rows: [{ state: 'Indeterminate', tries: 1 }],
      settled: [{ receiver: 'chat' }],
    });
    const after = makePlan(ended('Escalated', [...(lost.rows ?? [])]), only('chat'), NOTHING, NOW);
    expect(after).toEqual({ rows: undefined, settled: [], send: [], requeueAfterMs: undefined });
  });

  it('by another process that began at the same time is not our own', () => {
    const theirs = row('Sending', { message: 'by another' });
    expect(makePlan(ended('Escalated', [theirs]), only('chat'), knows(theirs), NOW)).toMatchObject({
      send: [],
      rows: [{ state: 'Indeterminate' }],
    });
  });

  it('in a try that this process does not know is not our own', () => {
    const theirs = row('Sending', { tries: 2, message: `by ${ME}` });
    const tries = knows(row('Sending'), { delivery: { type: 'again', why: 'x' } });
    expect(makePlan(ended('Escalated', [theirs]), only('chat'), tries, NOW).rows).toMatchObject([
      { state: 'Indeterminate' },
    ]);
  });

  it('and was written but not sent by this process is sent without another write', () => {
    const own = row('Sending', { message: `by ${ME}` });
    const plan = makePlan(ended('Escalated', [own]), only('chat'), knows(own), NOW);
    expect(plan).toMatchObject({ rows: undefined, send: [own] });
  });

  it.each([
    [{ type: 'sent' }, { state: 'Sent' }],
    [
      { type: 'refused', why: 'answered 404' },
      { state: 'Failed', message: 'answered 404' },
    ],
    [
      { type: 'unknown', why: 'no answer' },
      { state: 'Indeterminate', message: 'no answer; it may have arrived' },
    ],
    [
      { type: 'again', why: 'answered 500' },
      { state: 'Retrying', message: 'answered 500' },
    ],
  ] as const)('takes the state of its delivery: %j', (delivery, state) => {
    const own = row('Sending', { message: `by ${ME}` });
    const plan = makePlan(ended('Escalated', [own]), only('chat'), knows(own, { delivery }), NOW);
    expect(plan.rows).toMatchObject([state]);
    expect(plan.send).toEqual([]);
  });

  it('is given up after the last try', () => {
    const own = row('Sending', { tries: MAX_TRIES, message: `by ${ME}` });
    const tries = knows(own, { delivery: { type: 'again', why: 'answered 500' } });
    expect(makePlan(ended('Escalated', [own]), only('chat'), tries, NOW).rows).toMatchObject([
      { state: 'Failed', message: `answered 500; given up after ${MAX_TRIES} tries` },
    ]);
  });
});

describe('a message that is Retrying', () => {
  const waiting = row('Retrying', { tries: 3 });

  it('waits for the back-off, even under a new leader', () => {
    const early = makePlan(ended('Escalated', [waiting]), only('chat'), NOTHING, NOW);
    expect(early).toMatchObject({ send: [], requeueAfterMs: backoffStep(3, BACKOFF) - 1000 });
    const due = new Date(NOW.getTime() + backoffStep(3, BACKOFF));
    expect(makePlan(ended('Escalated', [waiting]), only('chat'), NOTHING, due).send).toMatchObject([
      { state: 'Sending', tries: 4 },
    ]);
  });

  it('waits as long as the receiver asked for', () => {
    const tries = knows(waiting, { notBefore: NOW.getTime() + 60_000 });
    expect(makePlan(ended('Escalated', [waiting]), only('chat'), tries, NOW).requeueAfterMs).toBe(60_000);
  });

  it('is retried however long ago the end was', () => {
    const old = ended('Escalated', [{ ...waiting, time: AGO(3 * 3600_000) }], AGO(4 * 3600_000));
    expect(makePlan(old, only('chat'), NOTHING, NOW).send).toHaveLength(1);
  });

  it('fails when its receiver is no longer configured', () => {
    expect(makePlan(ended('Escalated', [waiting]), only('pager'), NOTHING, NOW).rows).toMatchObject([
      { receiver: 'chat', state: 'Failed' },
      { receiver: 'pager', state: 'Sending' },
    ]);
  });
});

it.each(['Sent', 'Failed', 'Indeterminate'] as const)('a message that is %s is never touched again', (state) => {
  const plan = makePlan(ended('Escalated', [row(state)]), only('chat'), NOTHING, NOW);
  expect(plan).toEqual({ rows: undefined, settled: [], send: [], requeueAfterMs: undefined });
});
