// One sandbox cannot stop the kube door for the others: what it sends at once has a limit.

import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startKubeDoor } from '../../../../test/support/kube-door.ts';

const CONFIGMAPS = '/api/v1/namespaces/patient/configmaps';
const MIB = 1024 * 1024;

describe('bodies in memory', () => {
  it('are limited: of 60 bodies of 3 MiB at once, the gateway never keeps more than 8 MiB', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.writeHead(403).end('{}') });
    const body = Buffer.alloc(3 * MIB - 100, ' ');
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, through.memory.total);
    }, 1);
    const answers = await Promise.allSettled(Array.from({ length: 60 }, () => through.send('POST', CONFIGMAPS, body)));
    clearInterval(watch);
    const refused = answers.filter(({ status }) => status === 'rejected').length;
    const statuses = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value.status : 0));
    expect(statuses.filter((status) => status === 429).length + refused).toBeGreaterThan(0);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(8 * MIB);
    await expect.poll(() => through.memory.total).toBe(0);
  });

  it('are refused over the share, in the form that kubectl retries, and counted', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.end('{}') });
    const other = through.memory.hold('s oplab-sandbox');
    other.grow(8 * MIB - 10);
    const { status, headers, body } = await through.send('POST', CONFIGMAPS, '{"kind":"ConfigMap"}');
    expect([status, headers['retry-after']]).toEqual([429, '1']);
    expect(JSON.parse(body.toString())).toMatchObject({
      kind: 'Status',
      code: 429,
      reason: 'TooManyRequests',
      message: expect.stringContaining('OPLAB_OVER_QUOTA'),
    });
    expect(await through.metrics()).toContain(
      'oplab_refused_total{door="kube",reason="OPLAB_OVER_QUOTA",process="test"} 1',
    );
    other.release();
    expect((await through.send('POST', CONFIGMAPS, '{"kind":"ConfigMap"}')).status).toBe(200);
  });

  it('of answers are limited too: a DELETE that is answered with 40 MiB keeps 2 MiB', async () => {
    const piece = Buffer.alloc(MIB, '{');
    let most = 0;
    const through = await startKubeDoor({
      answer: async (_, response) => {
        for (let sent = 0; sent < 40; sent += 1) {
          response.write(piece);
          await sleep(1);
          most = Math.max(most, through.memory.total);
        }
        response.end();
      },
    });
    const { status, body } = await through.send('DELETE', `${CONFIGMAPS}?dryRun=All`);
    expect([status, body.length]).toEqual([200, 40 * MIB]);
    expect(most).toBeLessThanOrEqual(2 * MIB + 128 * 1024);
    const outcome = through.entries.at(-1);
    expect(outcome?.params).toMatchObject({ status: 200, isPartial: true });
    expect(outcome?.content).toContain('too large to be recorded whole');
    expect(outcome?.blob?.length).toBeLessThanOrEqual(2 * MIB + 128 * 1024);
  });
});

describe('what a session uses a second', () => {
  it('is limited in requests, and tells when to try again', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.end('{}') });
    const began = performance.now();
    const answers = [];
    for (let sent = 0; sent < 8; sent += 1) {
      answers.push(...(await Promise.all(Array.from({ length: 50 }, () => through.send('GET', CONFIGMAPS)))));
    }
    const seconds = (performance.now() - began) / 1000;
    const passed = answers.filter(({ status }) => status === 200).length;
    expect(passed).toBeGreaterThanOrEqual(100);
    expect(passed).toBeLessThanOrEqual(100 + 50 * seconds + 1);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBe(answers.length - passed);
    if (seconds > 5) return;
    expect(refused[0]?.headers['retry-after']).toBe('1');
    await sleep(100);
    expect((await through.send('GET', CONFIGMAPS)).status).toBe(200);
  });

  it.each([
    ['announced', {}],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('is limited in bytes of write bodies: %s', async (_, headers) => {
    const through = await startKubeDoor({ answer: (_request, response) => void response.end('{}') });
    const body = JSON.stringify({ data: 'x'.repeat(MIB - 100) });
    const began = performance.now();
    let [passed, refused] = [0, 0];
    for (let sent = 0; sent < 40; sent += 1) {
      // A caller that still sends may find the connection closed before it reads the refusal.
      const status = await through.send('POST', CONFIGMAPS, body, headers).then(
        (answer) => answer.status,
        () => 0,
      );
      if (status === 200) passed += 1;
      else refused += 1;
    }
    const seconds = (performance.now() - began) / 1000;
    expect(passed).toBeLessThanOrEqual(10 + 5 * seconds + 1);
    // A machine that takes longer does not reach the limit.
    if (seconds > 5) return;
    expect(refused).toBeGreaterThan(0);
    expect(await through.metrics()).toContain('reason="OPLAB_OVER_QUOTA"');
  });
});

it('what a body costs is counted by its values, too: small ones are not free', async () => {
  const through = await startKubeDoor({ answer: (_request, response) => void response.end('{}') });
  const body = JSON.stringify({ data: Array(90_000).fill(0) });
  const began = performance.now();
  let passed = 0;
  for (let sent = 0; sent < 8; sent += 1) {
    const { status } = await through.send('POST', CONFIGMAPS, body);
    if (status === 200) passed += 1;
  }
  // Each counts as 5.5 MiB: without that, all of them are less than the burst.
  expect(passed).toBeLessThanOrEqual(3 + (performance.now() - began) / 1000);
});

it('what YAML costs is counted also if it is refused', async () => {
  const through = await startKubeDoor({ answer: (_request, response) => void response.end('{}') });
  const refusedBody = `a: !unknown 1\n#${'x'.repeat(63_000)}`;
  const began = performance.now();
  const statuses = [];
  for (let sent = 0; sent < 25; sent += 1) {
    statuses.push((await through.send('POST', CONFIGMAPS, refusedBody, { 'content-type': 'application/yaml' })).status);
  }
  expect(statuses[0]).toBe(400);
  const refusedUnread = statuses.filter((status) => status === 429).length;
  // Each counts as a MiB.
  expect(statuses.length - refusedUnread).toBeLessThanOrEqual(12 + (5 * (performance.now() - began)) / 1000);
});

describe('rights', () => {
  const large = JSON.stringify({ kind: 'ConfigMap', data: { word: 'sesame'.repeat(100_000) } });
  const json = (response: ServerResponse, value: object) => void response.end(JSON.stringify(value));
  const refuses = (response: ServerResponse) => json(response, { status: { allowed: false } });

  it('are asked before a body is read: a write that is refused is on record with its length alone', async () => {
    const through = await startKubeDoor({ review: refuses, answer: (_, response) => void response.end('{}') });
    const { status, body } = await through.send('POST', CONFIGMAPS, large);
    expect(status).toBe(403);
    expect(JSON.parse(body.toString())).toMatchObject({
      kind: 'Status',
      reason: 'Forbidden',
      message:
        'configmaps is forbidden: User "system:serviceaccount:oplab-agents:a" cannot create resource "configmaps" in API group "" in the namespace "patient"',
    });
    expect(through.seen).toEqual([]);
    const [intent, outcome] = through.entries;
    expect(intent).toMatchObject({ kind: 'kube_intent', params: { verb: 'create', unreadBytes: large.length } });
    expect(intent?.blob).toBeUndefined();
    expect(outcome).toMatchObject({ kind: 'kube_outcome', params: { status: 403, reason: 'Forbidden' } });
    expect(outcome?.content).toContain('cannot create resource');
  });

  it('keep what is refused cheap: 10 bodies of 1 MiB leave less than 25 KiB in the record', async () => {
    const through = await startKubeDoor({ review: refuses, answer: (_, response) => void response.end('{}') });
    const body = JSON.stringify({ data: 'x'.repeat(MIB - 100) });
    for (let sent = 0; sent < 10; sent += 1) {
      // A fast machine may send more than the quota of bytes a second.
      if ((await through.send('POST', CONFIGMAPS, body)).status === 429) await sleep(1000);
    }
    expect(through.memory.total).toBe(0);
    expect(JSON.stringify(through.entries).length).toBeLessThan(25 * 1024);
    expect(through.reviews.length).toBeLessThan(10);
  });

  it('are asked once for many writes of one kind, and not for reads or writes without a body', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.end('{}') });
    for (let sent = 0; sent < 10; sent += 1) await through.send('POST', CONFIGMAPS, '{}');
    await through.send('GET', CONFIGMAPS);
    await through.send('DELETE', `${CONFIGMAPS}/x`);
    expect(through.seen).toHaveLength(12);
    expect(through.reviews).toEqual([
      expect.objectContaining({
        spec: {
          resourceAttributes: {
            verb: 'create',
            group: '',
            version: 'v1',
            resource: 'configmaps',
            namespace: 'patient',
          },
        },
      }),
    ]);
  });

  it.each([
    ['the API server does not say', (response: ServerResponse) => void response.writeHead(500).end()],
    ['the connection is cut', (response: ServerResponse) => void response.destroy()],
    [
      'a rule could not be evaluated',
      (response: ServerResponse) => json(response, { status: { allowed: false, evaluationError: 'webhook down' } }),
    ],
  ])('that are not known refuse nothing: %s', async (_, review) => {
    const through = await startKubeDoor({ review, answer: (_request, response) => void response.end('{}') });
    expect((await through.send('POST', CONFIGMAPS, '{}')).status).toBe(200);
    expect(through.seen).toHaveLength(1);
  });

  it('do not matter for what no role can allow, whose body is not read either', async () => {
    const through = await startKubeDoor({ answer: (_, response) => void response.end('{}') });
    const { status, body } = await through.send('POST', '/apis/oplab.dev/v1alpha1/namespaces/patient/incidents', large);
    expect([status, body.toString()]).toEqual([400, expect.stringContaining('an agent may not write')]);
    expect(through.reviews).toEqual([]);
    expect(through.entries[0]).toMatchObject({ params: { unreadBytes: large.length } });
    expect(through.entries[0]?.blob).toBeUndefined();
  });
});
