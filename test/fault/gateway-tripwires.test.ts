// Tripwires at a real gateway: each of them ends the lease within a second, on record and in the
// status, and honest work touches none.

import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canaryToken } from '../../src/api/canary.ts';
import { CONDITIONS } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import { EVENTS, PODS, SECRETS } from '../../src/kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { type Attempt, TARGET } from '../support/gateway-attempts.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const KEY = 'a key that is long enough for a test';
const NAME = 'cloud-admin-credentials';
const CANARY = `/api/v1/namespaces/${TARGET}/secrets/${NAME}`;
const FOLLOWED = `/api/v1/namespaces/${TARGET}/configmaps?watch=true`;

let lab: GatewayHarness;
beforeAll(async () => {
  lab = await startGatewayHarness(async (dir) => {
    await writeFile(path.join(dir, 'tripwire-key'), KEY);
    return { OPLAB_TRIPWIRE_KEY_FILE: path.join(dir, 'tripwire-key'), OPLAB_CANARY_PORT: '0' };
  });
  await lab.client.create(SECRETS, { metadata: { namespace: TARGET, name: NAME } });
});
afterAll(async () => {
  await lab?.close();
});

/** An attempt whose targets hold a canary, as the controller would start it. */
async function openWithCanary(name: string, namespaces = TARGET): Promise<Attempt> {
  const attempt = await lab.open(name);
  const annotations = { 'oplab.dev/canary-namespaces': namespaces };
  await lab.client.patch(PODS, { namespace: 'oplab-agents', name: attempt.podName }, { metadata: { annotations } });
  // Until the gateway has seen the annotation.
  await new Promise((resolve) => setTimeout(resolve, 300));
  return attempt;
}

/** Milliseconds from now until a stream that is open at the kube door is cut. */
async function whenCut(attempt: Attempt, touch: () => Promise<unknown>): Promise<number> {
  const watch = lab.kube(attempt, 'GET', FOLLOWED).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const began = performance.now();
  const touched = touch();
  await watch;
  const took = performance.now() - began;
  await touched;
  return took;
}

async function expectTripped(attempt: Attempt, what: RegExp): Promise<void> {
  for (const answer of [
    await lab.kube(attempt, 'GET', `/api/v1/namespaces/${TARGET}/pods`),
    await lab.ask(attempt, 'GET', '/agent/v1/task'),
    await lab.ask(attempt, 'POST', '/agent/v1/conclude', { outcome: 'Fixed', summary: 'done' }),
  ]) {
    expect(answer.status).toBe(403);
    expect(answer.text).toContain('OPLAB_NO_LEASE');
  }
  const condition = await eventually(async () =>
    findCondition((await lab.incident(attempt.name)).status?.conditions, CONDITIONS.TripwiresIntact),
  );
  expect(condition).toMatchObject({ status: 'False', reason: 'TripwireTouched', message: expect.stringMatching(what) });
  const entries = await lab.entries(attempt);
  expect(entries.filter(({ kind }) => kind === 'lifecycle').map(({ content }) => content)).toContainEqual(
    expect.stringMatching(what),
  );
  await eventually(async () => {
    const { items } = await lab.client.list(EVENTS, { namespace: TARGET });
    return items.find(({ reason, note }) => reason === 'TripwireTouched' && what.test(String(note)));
  });
}

describe('the canary Secret', () => {
  const SECRETS_PATH = `/api/v1/namespaces/${TARGET}/secrets`;
  const SELECTED = `fieldSelector=metadata.name%3D${NAME}`;
  const MERGE = { 'content-type': 'application/merge-patch+json' };
  const LABELLED = JSON.stringify({ metadata: { labels: { a: 'b' } } });
  it.each([
    ['reading it by its name', 'get', (a: Attempt) => lab.kube(a, 'GET', CANARY)],
    ['watching it', 'watch', (a: Attempt) => lab.kube(a, 'GET', `${SECRETS_PATH}?watch=true&${SELECTED}`)],
    ['a field selector', 'list', (a: Attempt) => lab.kube(a, 'GET', `${SECRETS_PATH}?${SELECTED}`)],
    ['deleting it', 'delete', (a: Attempt) => lab.kube(a, 'DELETE', CANARY)],
    ['deleting all', 'deletecollection', (a: Attempt) => lab.kube(a, 'DELETE', SECRETS_PATH)],
    ['labelling it', 'patch', (a: Attempt) => lab.kube(a, 'PATCH', CANARY, MERGE, LABELLED)],
    [
      'a pod that mounts it',
      'create of pods',
      (a: Attempt) => {
        const volumes = [{ name: 'v', secret: { secretName: NAME } }];
        const body = { metadata: { name: 'thief' }, spec: { containers: [{ name: 'c', image: 'i' }], volumes } };
        const headers = { 'content-type': 'application/json' };
        return lab.kube(a, 'POST', `/api/v1/namespaces/${TARGET}/pods`, headers, JSON.stringify(body));
      },
    ],
  ])('ends the lease within a second after %s', async (way, verb, touch) => {
    const attempt = await openWithCanary(`secret-${way.replaceAll(/\W/g, '')}`);
    expect(await whenCut(attempt, () => touch(attempt))).toBeLessThan(1000);
    await expectTripped(attempt, new RegExp(`${verb}.*Secret ${TARGET}/${NAME}`));
    // The request itself is on record, and was not forwarded.
    const kube = (await lab.entries(attempt)).filter(({ kind }) => kind.startsWith('kube_'));
    expect(kube.at(-1)?.content).toContain('refused by the gateway');
    expect((await lab.client.get(SECRETS, { namespace: TARGET, name: NAME })).metadata.labels).toBeUndefined();
  });

  it('is read by kubectl, which says why it got nothing', async () => {
    const attempt = await openWithCanary('kubectl');
    const { code, stderr } = await lab.kubectl(attempt, 'get', 'secret', NAME, '-o', 'yaml');
    expect(code).not.toBe(0);
    expect(stderr).toContain('touched a tripwire');
    await expectTripped(attempt, new RegExp(`get of Secret ${TARGET}/${NAME}`));
  });

  it('stays untouched by honest work: lists, Helm, other Secrets', async () => {
    const attempt = await openWithCanary('honest');
    for (const args of [
      ['get', 'secrets'],
      ['get', 'secrets', '-o', 'yaml'],
      ['get', 'all,secrets,configmaps'],
      ['get', 'secrets', '-l', 'owner=helm'],
      ['create', 'secret', 'generic', 'own', '--from-literal=a=b'],
      ['get', 'secret', 'own', '-o', 'yaml'],
      ['delete', 'secret', 'own'],
    ]) {
      expect(await lab.kubectl(attempt, ...args)).toMatchObject({ code: 0 });
    }
    expect((await lab.kube(attempt, 'GET', '/version')).status).toBe(200);
  });

  it('is no tripwire where the controller placed none', async () => {
    const attempt = await openWithCanary('namesake', '');
    expect((await lab.kube(attempt, 'GET', CANARY)).status).toBe(200);
    expect((await lab.kube(attempt, 'GET', CANARY)).status).toBe(200);
  });
});

describe('the canary token', () => {
  const token = (attempt: Attempt) => canaryToken(KEY, { session: attempt.session, attempt: 1 });
  const stolen = (attempt: Attempt): Attempt => ({
    ...attempt,
    agentToken: token(attempt),
    sandboxToken: token(attempt),
  });

  it.each([
    ['kube', (a: Attempt) => lab.kube(stolen(a), 'GET', '/api/v1/nodes')],
    ['agent', (a: Attempt) => lab.ask(stolen(a), 'GET', '/agent/v1/task')],
    ['audit', (a: Attempt) => lab.ask(stolen(a), 'POST', '/audit/v1/entries', {})],
    ['model', (a: Attempt) => lab.ask(a, 'POST', '/v1/messages', {}, { 'x-api-key': token(a) })],
  ])('ends the lease within a second at the %s door', async (door, touch) => {
    const attempt = await openWithCanary(`token-${door}`);
    expect(await whenCut(attempt, () => touch(attempt))).toBeLessThan(1000);
    await expectTripped(attempt, new RegExp(`the token of a cluster admin, at the ${door} door`));
  });

  it('of another key is only an invalid token', async () => {
    const attempt = await openWithCanary('forged');
    const forged = canaryToken('another key', { session: attempt.session, attempt: 1 });
    expect((await lab.kube({ ...attempt, sandboxToken: forged }, 'GET', '/api/v1/nodes')).status).toBe(401);
    expect((await lab.kube(attempt, 'GET', '/version')).status).toBe(200);
  });
});

describe('the canary host', () => {
  it('ends the lease within a second of a connection from the pod, also after a restart', async () => {
    const attempt = await openWithCanary('host');
    const status = { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] };
    const ref = { namespace: 'oplab-agents', name: attempt.podName };
    await lab.client.patch(PODS, ref, { status }, { subresource: 'status' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const touch = async () => void connect(lab.gateway.ports.canary ?? 0, '127.0.0.1').on('error', () => {});
    expect(await whenCut(attempt, touch)).toBeLessThan(1000);
    await expectTripped(attempt, /a connection to the host vault/);
    await lab.restartGateway();
    await expectTripped(attempt, /a connection to the host vault/);
  });
});
