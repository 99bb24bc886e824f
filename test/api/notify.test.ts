// Notifications over a real API server: whatever the receiver does and whenever the controller
// dies, no message is sent twice.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { CONTROLLER_MANAGER } from '../../src/api/group.ts';
import { type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import type { Notification } from '../../src/api/incident-status.ts';
import { Notifier, type NotifyOptions } from '../../src/controller/notify/notifier.ts';
import type { Receiver } from '../../src/controller/notify/receiver.ts';
import { createKubeClient } from '../../src/kube/client.ts';
import { INCIDENTS } from '../../src/kube/resources.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { Patient } from '../support/incident-probe.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { random } from '../support/random.ts';
import { type Reception, TestReceiver } from '../support/receiver.ts';
import { cuttable, recordingLog, startController } from '../support/running-controller.ts';

const HOME = 'notified';
const CHAT: Receiver = { name: 'chat', type: 'slack', events: ['Escalated', 'Resolved'] };
const PAGER: Receiver = { name: 'pager', type: 'webhook', events: ['Escalated'] };
const BACKOFF = { baseMs: 20, maxMs: 100 };
const TIME_LIMIT_MS = 300;

let server: ApiServer;
let count = 0;
beforeAll(async () => {
  server = await startApiServer();
  await server.client.create(NAMESPACES, { metadata: { name: HOME } });
}, 300_000);
afterAll(() => server?.stop());

/** An Incident that has ended, in the state in which the controller leaves it. */
async function ended(phase: 'Escalated' | 'Resolved' = 'Escalated'): Promise<Incident> {
  count += 1;
  const name = `ended-${count}`;
  const check = { name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'p', cel: 'true' } };
  await server.client.create(INCIDENTS, {
    metadata: { namespace: HOME, name },
    spec: { summary: `number ${count} is unwell`, verify: { checks: [check] } },
  });
  const now = new Date().toISOString();
  const conditions = [{ type: 'Finished', status: 'True', reason: 'Test', message: '', lastTransitionTime: now }];
  const written = await server.client.apply(
    INCIDENTS,
    { metadata: { namespace: HOME, name }, status: { phase, finishTime: now, conditions } },
    { fieldManager: CONTROLLER_MANAGER, force: true, subresource: 'status' },
  );
  return incidentSchema.parse(written);
}

async function rows(incident: Incident): Promise<readonly Notification[]> {
  const { name, namespace } = incident.metadata;
  return incidentSchema.parse(await server.client.get(INCIDENTS, { namespace, name })).status?.notifications ?? [];
}
const SETTLED = ['Sent', 'Failed', 'Indeterminate'];
const settled = (incident: Incident, messages = 1) =>
  eventually(
    async () => {
      const found = await rows(incident);
      return found.length === messages && found.every(({ state }) => SETTLED.includes(state)) ? found : undefined;
    },
    { what: 'every message is settled' },
  );

/** A notifier as the leader runs it; `kill` cuts it off from the API server, as SIGKILL would. */
function startNotifier(receiver: TestReceiver, options: Partial<NotifyOptions> = {}) {
  const { client, cut } = cuttable(createKubeClient({ kubeconfig: server.kubeconfig }));
  const log = recordingLog();
  const notes: string[] = [];
  const notifier = new Notifier(
    {
      receivers: [CHAT],
      readUrl: async () => receiver.nextUrl(),
      backoff: BACKOFF,
      timeLimitMs: TIME_LIMIT_MS,
      ...options,
    },
    { client, log, now: () => new Date(), record: (_incident, { reason, note }) => notes.push(`${reason} ${note}`) },
  );
  const stop = new AbortController();
  const running = notifier.run(stop.signal);
  return {
    notifier,
    log,
    notes,
    kill: cut,
    async stop() {
      stop.abort();
      await running;
    },
  };
}

const ONCE: [string, Reception[], Partial<Notification>][] = [
  ['takes it at once', [], { state: 'Sent', tries: 1 }],
  ['is not there at first', ['refuse', 'refuse'], { state: 'Sent', tries: 3 }],
  ['fails at first', [500, 503, 502], { state: 'Sent', tries: 4 }],
  ['takes it and never answers', ['hang'], { state: 'Indeterminate', tries: 1 }],
  ['takes it and hangs up', [500, 'cut'], { state: 'Indeterminate', tries: 2 }],
  ['is behind a proxy that gave up waiting', [504], { state: 'Indeterminate', tries: 1 }],
  ['refuses it', [403], { state: 'Failed', tries: 1 }],
  ['sends it elsewhere', [302], { state: 'Failed', tries: 1 }],
];

describe('a receiver that', () => {
  it.each(ONCE)('%s gets a message at most once: %j', async (_what, receptions, end) => {
    const receiver = await new TestReceiver().meet(...receptions).start();
    const running = startNotifier(receiver);
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const incident = await ended();
    running.notifier.consider(incident);
    const [row] = await settled(incident);
    expect(row).toMatchObject({ receiver: 'chat', event: 'Escalated', ...end });
    await sleep(300);
    expect(receiver.taken.length).toBe(end.state === 'Failed' ? 0 : 1);
    expect(new Set(receiver.received.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    await running.stop();
    await receiver.stop();
    // The URL is a secret: it must not be in any log, event or status.
    expect(JSON.stringify([running.log.lines, running.notes, await rows(incident)])).not.toMatch(/SECRET|127\.0\.0\.1/);
  });

  it('asks for a delay gets it', async () => {
    const receiver = await new TestReceiver().meet({ status: 429, retryAfter: '2' }).start();
    const running = startNotifier(receiver);
    const incident = await ended();
    running.notifier.consider(incident);
    expect(await settled(incident)).toMatchObject([{ state: 'Sent', tries: 2 }]);
    const [first, second] = receiver.received;
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThanOrEqual(1990);
    await running.stop();
    await receiver.stop();
  });

  it('is broken does not affect other receivers, and each gets only the events that it asked for', async () => {
    const chat = await new TestReceiver().meet(403).start();
    const pager = await new TestReceiver().start();
    const running = startNotifier(chat, {
      receivers: [CHAT, PAGER],
      readUrl: async (name) => (name === 'chat' ? chat : pager).nextUrl(),
    });
    const [bad, good] = [await ended('Escalated'), await ended('Resolved')];
    running.notifier.consider(bad);
    expect(await settled(bad, 2)).toMatchObject([{ state: 'Failed' }, { state: 'Sent' }]);
    running.notifier.consider(good);
    expect(await settled(good)).toMatchObject([{ receiver: 'chat', state: 'Sent' }]);
    expect(JSON.parse(pager.received[0]?.body ?? '')).toMatchObject({ event: 'Escalated', version: '1' });
    expect(pager.received).toHaveLength(1);
    for (const one of [running, chat, pager]) await one.stop();
  });
});

describe('a controller that dies', () => {
  it('between the write and the first byte leaves a message that is never sent', async () => {
    const receiver = await new TestReceiver().start();
    const first = startNotifier(receiver, { beforeSending: () => new Promise(() => {}) });
    const incident = await ended();
    first.notifier.consider(incident);
    await eventually(async () => (await rows(incident))[0]?.state === 'Sending');
    first.kill();
    const second = startNotifier(receiver);
    second.notifier.consider(incident);
    expect(await settled(incident)).toMatchObject([{ state: 'Indeterminate', tries: 1 }]);
    await sleep(300);
    expect(receiver.received).toEqual([]);
    expect(second.notes).toEqual([expect.stringContaining('NotificationIndeterminate')]);
    await second.stop();
    await receiver.stop();
  });

  it('between the first byte and the answer leaves a message that is never sent again', async () => {
    const receiver = await new TestReceiver().start();
    const first = startNotifier(receiver);
    receiver.onMessage = () => first.kill();
    const incident = await ended();
    first.notifier.consider(incident);
    await eventually(async () => receiver.received.length === 1);
    const second = startNotifier(receiver);
    second.notifier.consider(incident);
    expect(await settled(incident)).toMatchObject([{ state: 'Indeterminate', tries: 1 }]);
    await sleep(300);
    expect(receiver.received).toHaveLength(1);
    await second.stop();
    await receiver.stop();
  });

  it('but does not know it competes with its successor, and only one of them sends', async () => {
    const receiver = await new TestReceiver().start();
    const rivals = Array.from({ length: 4 }, () => startNotifier(receiver));
    const incidents = await Promise.all(Array.from({ length: 10 }, () => ended()));
    for (const incident of incidents) for (const { notifier } of rivals) notifier.consider(incident);
    for (const incident of incidents) expect(await settled(incident)).toHaveLength(1);
    await sleep(300);
    const keys = receiver.taken.map(({ idempotencyKey }) => idempotencyKey);
    expect(keys.length).toBe(new Set(keys).size);
    for (const rival of rivals) await rival.stop();
    await receiver.stop();
  });
});

it('on random walks of failures and deaths, no message is sent twice, and the status never claims more than is true', async () => {
  const next = random(42);
  const pick = <T>(all: readonly T[]): T => {
    const chosen = all[Math.floor(next() * all.length)];
    if (chosen === undefined) throw new Error('nothing to pick from');
    return chosen;
  };
  const seen = new Set<string>();
  for (let walk = 0; walk < 24; walk += 1) {
    const receptions = Array.from({ length: 3 }, () => pick<Reception>([200, 500, 'refuse', 'hang', 'cut', 403, 504]));
    const deaths = [pick(['before', 'during', 'never']), pick(['before', 'during', 'never'])];
    const receiver = await new TestReceiver().meet(...receptions).start();
    const incident = await ended();
    const running: ReturnType<typeof startNotifier>[] = [];
    for (const death of [...deaths, 'never']) {
      const one = startNotifier(receiver, {
        timeLimitMs: 100,
        ...(death === 'before' ? { beforeSending: () => new Promise<void>(() => one.kill()) } : {}),
      });
      receiver.onMessage = death === 'during' ? () => one.kill() : () => {};
      running.push(one);
      one.notifier.consider(incident);
      if (death !== 'never') await sleep(150);
      one.kill();
      if (death === 'never') break;
    }
    receiver.onMessage = () => {};
    const last = startNotifier(receiver, { timeLimitMs: 100 });
    last.notifier.consider(incident);
    const [row] = await settled(incident);
    const details = `walk ${walk}: ${JSON.stringify({ receptions, deaths, row, taken: receiver.taken.length })}`;
    expect(receiver.taken.length, details).toBeLessThanOrEqual(1);
    if (row?.state === 'Sent') expect(receiver.taken.length, details).toBe(1);
    if (row?.state === 'Failed') expect(receiver.taken.length, details).toBe(0);
    seen.add(row?.state ?? '');
    await last.stop();
    await receiver.stop();
  }
  // Otherwise the walks did not reach the dangerous states.
  expect([...seen].sort()).toEqual(['Failed', 'Indeterminate', 'Sent']);
}, 60_000);

it('a whole life ends with one message, which contains what the controller knows', async () => {
  const receiver = await new TestReceiver().start();
  const controller = await startController(server, {
    notify: { receivers: [CHAT], readUrl: async () => receiver.nextUrl(), backoff: BACKOFF },
  });
  onTestFailed(() => console.log(controller.log.lines.join('\n')));
  const incident = await (await new Patient(server.client, 'whole-life').admit()).report('broken', {
    limits: { attempts: 1 },
  });
  await incident.podRuns(1);
  await incident.claim(1, 'CannotFix');
  await incident.seal();
  expect((await incident.finished()).status?.phase).toBe('Escalated');
  const done = await incident.until('a notification', ({ status }) => status?.notifications?.[0]?.state === 'Sent');
  expect(done.status?.notifications).toMatchObject([{ receiver: 'chat', event: 'Escalated', tries: 1 }]);
  const text = receiver.received.find(({ body }) => body.includes('whole-life/broken'))?.body ?? '';
  expect(text).toContain('Escalated: the patient is unwell');
  expect(text).toContain('oplab audit show broken -n whole-life');
  await controller.stop();
  expect(receiver.received.filter(({ body }) => body.includes('whole-life'))).toHaveLength(1);
  await receiver.stop();
}, 120_000);
