// Ten thousand deliveries of a hundred alerts in any order, most of them repetitions, ends and
// outdated ones, lead to the right Incidents.

import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Incident } from '../../src/api/incident.ts';
import { incidentName } from '../../src/controller/alarm/alarm.ts';
import { type ApiServer, startApiServer } from '../support/api-server.ts';
import { type IntakeHarness, incidentsIn, startIntakeHarness, tokenOf } from '../support/intake-harness.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { random } from '../support/random.ts';

const HOME = 'flood';
const ALERTS = 100;
const DELIVERIES = 10_000;
const ROUTE = { name: 'all', namespace: HOME, prometheus: { service: 'prometheus' } };
/** Deliveries in progress at the same time. */
const AT_ONCE = 1000;
/**
 * CPU time of this process: two replicas, all senders and the test. The elapsed time depends on
 * what else runs on the machine.
 */
const WITHIN_CPU_SECONDS = 40;

let server: ApiServer;
let replicas: IntakeHarness[];
const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });

beforeAll(async () => {
  server = await startApiServer();
  await server.client.create(NAMESPACES, { metadata: { name: HOME } });
  replicas = [await startIntakeHarness(server, [ROUTE]), await startIntakeHarness(server, [ROUTE])];
}, 300_000);
afterAll(async () => {
  agent.destroy();
  for (const replica of replicas ?? []) await replica.stop();
  await server?.stop();
});

function shuffle<T>(all: readonly T[], next: () => number): T[] {
  return all
    .map((one) => ({ one, at: next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one);
}

/** The history of one alert: it fires and ends several times, and is over at the end or not. */
interface History {
  readonly fingerprint: string;
  readonly episodes: readonly { readonly startsAt: string; readonly endsAt: string | undefined }[];
}
interface Delivery {
  readonly fingerprint: string;
  readonly status: 'firing' | 'resolved';
  readonly startsAt: string;
  readonly endsAt: string;
}

const time = (minute: number) => new Date(Date.UTC(2026, 2, 1, 0, minute)).toISOString();
const histories: readonly History[] = Array.from({ length: ALERTS }, (_, index) => {
  const count = 1 + (index % 3);
  const episodes = Array.from({ length: count }, (_one, episode) => {
    const goesOn = episode === count - 1 && index % 2 === 0;
    return { startsAt: time(episode * 20 + 1), endsAt: goesOn ? undefined : time(episode * 20 + 11) };
  });
  return { fingerprint: `alert-${index}`, episodes };
});

/**
 * `size` deliveries of one history: the beginning and the end of every episode at least once, the
 * rest repeated at random.
 */
function makeDeliveries({ fingerprint, episodes }: History, size: number, next: () => number): Delivery[] {
  const words = episodes.flatMap(({ startsAt, endsAt }): Delivery[] => {
    const firing: Delivery = { fingerprint, status: 'firing', startsAt, endsAt: '0001-01-01T00:00:00Z' };
    return endsAt === undefined ? [firing] : [firing, { fingerprint, status: 'resolved', startsAt, endsAt }];
  });
  const again = Array.from({ length: size - words.length }, () => words[Math.floor(next() * words.length)]);
  return [...words, ...again.filter((one) => one !== undefined)];
}

function send(replica: IntakeHarness, { fingerprint, status, startsAt, endsAt }: Delivery): Promise<number> {
  const labels = { alertname: 'Flood', number: fingerprint };
  const alert = { status, labels, annotations: {}, startsAt, endsAt, fingerprint };
  const body = JSON.stringify({ version: '4', groupKey: '{}', truncatedAlerts: 0, alerts: [alert] });
  return new Promise((resolve, reject) => {
    const request = http.request(`${replica.url}/alertmanager/${ROUTE.name}`, {
      method: 'POST',
      agent,
      headers: { authorization: `Bearer ${tokenOf(ROUTE.name)}`, 'content-length': Buffer.byteLength(body) },
    });
    request.on('error', reject);
    request.on('response', (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    request.end(body);
  });
}

/** How many deliveries had to be sent again. */
let sentAgain = 0;

/**
 * Sends again when the connection breaks, as every sender does: it cannot know what arrived. With
 * so many connections at once, some may break. Also after a 503, as Alertmanager does.
 */
async function insist(replica: IntakeHarness, delivery: Delivery, tries = 5): Promise<number> {
  try {
    const status = await send(replica, delivery);
    if (status !== 503 || tries === 1) return status;
  } catch (error) {
    if (tries === 1) throw error;
  }
  sentAgain += 1;
  await sleep(200);
  return await insist(replica, delivery, tries - 1);
}

/**
 * Sends all deliveries, AT_ONCE at a time, each to a replica. Returns how often each status was
 * answered.
 */
async function sendAll(
  deliveries: readonly Delivery[],
  chooseReplica: (delivery: Delivery) => number,
): Promise<Record<string, number>> {
  const waiting = deliveries.values();
  const answers: Record<string, number> = {};
  const worker = async (_: unknown, index: number) => {
    // A server queues only some hundred connections that it has not accepted yet.
    await sleep(index);
    for (const delivery of waiting) {
      const replica = replicas[chooseReplica(delivery)];
      if (replica === undefined) throw new Error('no such replica');
      const status = await insist(replica, delivery);
      answers[status] = (answers[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, deliveries.length) }, worker));
  return answers;
}

it(`accepts ${DELIVERIES} deliveries in any order, over two replicas, and ends with exactly the right Incidents`, async () => {
  const next = random(7);
  // Half of the alerts are first delivered with their beginning, as Alertmanager does; the rest
  // follows in any order, to any replica. The other half is delivered in any order from the start,
  // to one replica, which remembers ends that came too early.
  const orderly = histories.filter((_, index) => index % 4 < 2);
  const wild = histories.filter((_, index) => index % 4 >= 2);
  const each = DELIVERIES / ALERTS;
  const firsts: Delivery[] = [];
  const rest: Delivery[] = [];
  for (const history of orderly) {
    const [first, ...others] = makeDeliveries(history, each, next);
    if (first !== undefined) firsts.push(first);
    rest.push(...others);
  }
  for (const history of wild) rest.push(...makeDeliveries(history, each, next));
  expect(firsts.length + rest.length).toBe(DELIVERIES);
  const isWild = new Set(wild.map(({ fingerprint }) => fingerprint));
  const chooseReplica = ({ fingerprint }: Delivery) => (isWild.has(fingerprint) || next() < 0.5 ? 0 : 1);

  const began = performance.now();
  const cpuBefore = process.cpuUsage();
  expect(await sendAll(shuffle(firsts, next), chooseReplica)).toEqual({ 200: firsts.length });
  expect(await sendAll(shuffle(rest, next), chooseReplica)).toEqual({ 200: rest.length });
  const seconds = (performance.now() - began) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const cpuSeconds = (cpu.user + cpu.system) / 1e6;
  console.log(
    `${DELIVERIES} deliveries in ${seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of CPU in this process, ${sentAgain} sent again`,
  );

  const incidents = await incidentsIn(server.client, HOME);
  const byFingerprint = new Map<string, Incident[]>();
  for (const incident of incidents) {
    const fingerprint = incident.spec.source?.fingerprint ?? '';
    byFingerprint.set(fingerprint, [...(byFingerprint.get(fingerprint) ?? []), incident]);
  }
  for (const { fingerprint, episodes } of histories) {
    const found = byFingerprint.get(fingerprint) ?? [];
    const last = episodes.at(-1);
    const lives = last?.endsAt === undefined;
    // An alert whose last end was delivered before any beginning needs no Incident. An alert that
    // is still firing does.
    if (found.length === 0 && isWild.has(fingerprint) && !lives) continue;
    expect(found, fingerprint).toHaveLength(1);
    const { metadata, spec, status } = found[0] ?? {};
    const begins = episodes.map(({ startsAt }) => startsAt);
    expect(begins, fingerprint).toContain(spec?.source?.startTime);
    if (spec?.source !== undefined) expect(metadata?.name).toBe(incidentName(spec.source));
    expect(status?.alarm, fingerprint).toMatchObject({ state: lives ? 'Firing' : 'Cleared' });
    if (lives) expect(status?.alarm?.startTime, fingerprint).toBe(last?.startsAt);
    else expect(status?.alarm?.clearedTime, fingerprint).toBe(last?.endsAt);
    byFingerprint.delete(fingerprint);
  }
  expect([...byFingerprint.keys()]).toEqual([]);
  // All of it once more: outdated deliveries change nothing.
  const before = incidents.map(({ metadata }) => metadata.uid).sort();
  const again = shuffle(rest, next).slice(0, 500);
  expect(await sendAll(again, () => 0)).toEqual({ 200: again.length });
  const after = await incidentsIn(server.client, HOME);
  expect(after.map(({ metadata }) => metadata.uid).sort()).toEqual(before);
  expect(cpuSeconds).toBeLessThan(WITHIN_CPU_SECONDS);
  expect(sentAgain).toBeLessThan(DELIVERIES / 100);
}, 300_000);
