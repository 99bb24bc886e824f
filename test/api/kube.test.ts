// The client and the reflector against a real API server: errors, paging, preconditions, watches
// that end and resume.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKubeClient } from '../../src/kube/client.ts';
import { isAlreadyExists, isConflict, isForbidden, isGone, isInvalid, isNotFound } from '../../src/kube/errors.ts';
import { LeaderLease } from '../../src/kube/leader-lease.ts';
import { Reflector } from '../../src/kube/reflector.ts';
import { CONFIG_MAPS, PODS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import { type ApiServer, SYSTEM, startApiServer } from '../support/api-server.ts';
import { eventually } from '../support/eventually.ts';
import { NAMESPACES } from '../support/namespaces.ts';

const namespace = 'kube-test';
let server: ApiServer;

beforeAll(async () => {
  server = await startApiServer();
  await server.client.create(NAMESPACES, { metadata: { name: namespace } });
});
afterAll(() => server?.stop());

const make = (name: string, data: Record<string, string> = {}) =>
  server.client.create(CONFIG_MAPS, { metadata: { namespace, name }, data });
const failure = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('the client', () => {
  it('distinguishes errors', async () => {
    const made = await make('once');
    expect(isNotFound(await failure(server.client.get(CONFIG_MAPS, { namespace, name: 'absent' })))).toBe(true);
    expect(isAlreadyExists(await failure(make('once')))).toBe(true);
    expect(isInvalid(await failure(make('Not A Name')))).toBe(true);
    const stale = { metadata: { resourceVersion: '1' }, data: { a: 'b' } };
    expect(isConflict(await failure(server.client.patch(CONFIG_MAPS, { namespace, name: 'once' }, stale)))).toBe(true);
    const nobody = server.client.withToken('nonsense');
    expect(await failure(nobody.list(CONFIG_MAPS, { namespace }))).toMatchObject({ status: 401 });
    expect(made.kind).toBe('ConfigMap');
    const away = createKubeClient({ kubeconfig: server.kubeconfig });
    away.server.url.port = '1';
    expect(await failure(away.list(CONFIG_MAPS, { namespace }))).toMatchObject({
      status: 0,
      code: 'OPLAB_KUBE_UNREACHABLE',
    });
  });

  it('applies every text as it is, however YAML reads it, and half of a pair as the replacement character', async () => {
    const odd = [
      '\u007f',
      '\u0080',
      '\u0085',
      '\u009b',
      '\u2028',
      '\u2029',
      '\ufeff',
      '\ufffe',
      '\uffff',
      '\u0000',
      '\u001b',
    ];
    const data = Object.fromEntries(odd.map((character, index) => [`k${index}`, ` a ${character} ${character}\n"\\b`]));
    const half = { high: 'a\ud83d', low: '\ude00b', pair: '\ud83d\ude00' };
    const object = { metadata: { namespace, name: 'odd' }, data: { ...data, ...half } };
    const applied = await server.client.apply(CONFIG_MAPS, object, { fieldManager: 'test' });
    expect(applied.data).toEqual({ ...data, high: 'a\ufffd', low: '\ufffdb', pair: '😀' });
  });

  it('acts with the token of a service account, and with its rights', async () => {
    await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace, name: 'nobody' } });
    const answer = await server.client.createSubresource(SERVICE_ACCOUNTS, { namespace, name: 'nobody' }, 'token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 600 },
    });
    const { token } = Object(answer.status);
    const error = await failure(server.client.withToken(async () => token).list(PODS, { namespace }));
    expect(isForbidden(error)).toBe(true);
    expect(String(error)).toContain('system:serviceaccount:kube-test:nobody');
  });

  it('reads all pages of a list', async () => {
    await Promise.all(Array.from({ length: 520 }, (_, index) => make(`page-${index}`)));
    const { items } = await server.client.list(CONFIG_MAPS, { namespace });
    expect(items.filter((item) => item.metadata.name.startsWith('page-'))).toHaveLength(520);
    await Promise.all(items.map((item) => server.client.delete(CONFIG_MAPS, { namespace, name: item.metadata.name })));
  });

  it('applies with a precondition, and leaves other managers their own fields', async () => {
    const object = (data: object, resourceVersion?: string) => ({
      metadata: { namespace, name: 'applied', ...(resourceVersion === undefined ? {} : { resourceVersion }) },
      data,
    });
    const first = await server.client.apply(CONFIG_MAPS, object({ a: '1' }), { fieldManager: 'one' });
    const second = await server.client.apply(CONFIG_MAPS, object({ b: '2' }), { fieldManager: 'two' });
    expect(second.data).toEqual({ a: '1', b: '2' });
    const stale = failure(
      server.client.apply(CONFIG_MAPS, object({ a: '3' }, first.metadata.resourceVersion), { fieldManager: 'one' }),
    );
    expect(isConflict(await stale)).toBe(true);
    // A field that is left out is no longer owned.
    expect((await server.client.apply(CONFIG_MAPS, object({}), { fieldManager: 'one' })).data).toEqual({ b: '2' });
  });

  it('deletes only the object with the expected UID', async () => {
    await make('meant');
    const ref = { namespace, name: 'meant' };
    expect(isConflict(await failure(server.client.delete(CONFIG_MAPS, ref, { uid: 'another' })))).toBe(true);
    expect(await server.client.delete(CONFIG_MAPS, ref)).toBe(true);
    expect(await server.client.delete(CONFIG_MAPS, ref)).toBe(false);
  });
});

describe('a watch', () => {
  it('from an expired resource version reports that it is expired', async () => {
    const watch = server.client.watch(CONFIG_MAPS, {
      namespace,
      resourceVersion: '1',
      signal: AbortSignal.timeout(5000),
    });
    const error = await failure(watch[Symbol.asyncIterator]().next());
    // Either the version is too old, or this server has just started and still has everything. Then
    // the first event comes.
    if (error !== undefined) expect(isGone(error)).toBe(true);
  });

  it('ends when it is aborted', async () => {
    const stop = new AbortController();
    const { resourceVersion } = await server.client.list(CONFIG_MAPS, { namespace });
    const watch = server.client.watch(CONFIG_MAPS, { namespace, resourceVersion, signal: stop.signal });
    const next = watch[Symbol.asyncIterator]().next();
    setTimeout(() => stop.abort(), 100);
    expect(await next).toMatchObject({ done: true });
  });
});

describe('a reflector', () => {
  it('loses nothing over many watches that the server ends', async () => {
    const stop = new AbortController();
    const seen = new Map<string, number>();
    const reflector = new Reflector({
      client: server.client,
      resource: CONFIG_MAPS,
      namespace,
      labelSelector: 'many=yes',
      parse: (object) => object,
      onEvent: ({ key, type }) => {
        if (type === 'added') seen.set(key, (seen.get(key) ?? 0) + 1);
      },
      watchTimeoutSeconds: 1,
    });
    reflector.start(stop.signal);
    await reflector.synced();
    for (let index = 0; index < 40; index += 1) {
      await server.client.create(CONFIG_MAPS, {
        metadata: { namespace, name: `many-${index}`, labels: { many: 'yes' } },
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await eventually(async () => reflector.list().length === 40);
    expect([...seen.values()].every((times) => times === 1)).toBe(true);
    await server.client.delete(CONFIG_MAPS, { namespace, name: 'many-0' });
    await eventually(async () => reflector.list().length === 39);
    stop.abort();
  });
});

describe('a leader lease', () => {
  it('is handed over on a real API server', async () => {
    const leases = ['a', 'b'].map(
      (identity) =>
        new LeaderLease({ client: server.client, namespace: SYSTEM, name: 'hand-over', identity, retrySeconds: 0.2 }),
    );
    const stops = leases.map(() => new AbortController());
    const hold = (signal: AbortSignal) =>
      new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    const running = leases.map((lease, index) => lease.run(stops[index]?.signal ?? AbortSignal.abort(), hold));
    const leader = await eventually(async () => leases.find((lease) => lease.isLeading));
    const index = leases.indexOf(leader);
    stops[index]?.abort();
    await running[index];
    await eventually(async () => leases.find((lease) => lease !== leader)?.isLeading);
    for (const stop of stops) stop.abort();
    await Promise.all(running);
  });
});
