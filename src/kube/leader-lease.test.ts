// Leader election with a Lease in memory and real conflicts: one leader, release, loss.

import { describe, expect, it } from 'vitest';
import type { KubeObject, NewKubeObject } from './client.ts';
import { KubeError } from './errors.ts';
import { LeaderLease } from './leader-lease.ts';
import { kubeObject } from './object.ts';

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** One Lease with optimistic concurrency, as at the API server. */
function leaseStore() {
  let stored: KubeObject | undefined;
  let version = 0;
  const state = { down: false };
  const gate = () => {
    if (state.down) throw new KubeError(0, 'Unreachable', 'down');
  };
  return {
    state,
    holder: () => JSON.parse(JSON.stringify(stored?.spec ?? {})).holderIdentity,
    client: {
      async get() {
        gate();
        if (stored === undefined) throw new KubeError(404, 'NotFound', 'no lease');
        return structuredClone(stored);
      },
      async create(_resource: unknown, object: NewKubeObject) {
        gate();
        if (stored !== undefined) throw new KubeError(409, 'AlreadyExists', 'exists');
        version += 1;
        stored = kubeObject.parse({ ...object, metadata: { ...object.metadata, resourceVersion: String(version) } });
        return structuredClone(stored);
      },
      async patch(_resource: unknown, _ref: unknown, change: object) {
        gate();
        const patch = kubeObject.parse(change);
        if (stored === undefined) throw new KubeError(404, 'NotFound', 'no lease');
        if (patch.metadata.resourceVersion !== stored.metadata.resourceVersion)
          throw new KubeError(409, 'Conflict', 'changed');
        version += 1;
        stored = kubeObject.parse({
          ...stored,
          spec: { ...Object(stored.spec), ...Object(patch.spec) },
          metadata: { ...stored.metadata, resourceVersion: String(version) },
        });
        return structuredClone(stored);
      },
    },
  };
}

function candidate(client: ReturnType<typeof leaseStore>['client'], identity: string, seconds = 0.3) {
  const lease = new LeaderLease({
    client,
    namespace: 'n',
    name: 'l',
    identity,
    durationSeconds: seconds,
    renewDeadlineSeconds: seconds * 0.66,
    retrySeconds: seconds / 10,
  });
  const stop = new AbortController();
  let lostAt: number | undefined;
  const lead = (signal: AbortSignal) =>
    new Promise<void>((resolve) =>
      signal.addEventListener('abort', () => {
        lostAt = Date.now();
        resolve();
      }),
    );
  const running = lease.run(stop.signal, lead);
  running.catch(() => undefined);
  return { lease, stop, running, lostAt: () => lostAt };
}

describe('a leader lease', () => {
  it('is held by one of several processes', async () => {
    const { client } = leaseStore();
    const all = ['a', 'b', 'c'].map((identity) => candidate(client, identity));
    await rest(500);
    expect(all.filter((one) => one.lease.isLeading)).toHaveLength(1);
    for (const one of all) one.stop.abort();
    await Promise.all(all.map((one) => one.running));
  });

  it('is released at the end, so that the next leader does not have to wait', async () => {
    const { client, holder } = leaseStore();
    const first = candidate(client, 'a', 30);
    await rest(50);
    first.stop.abort();
    await first.running;
    expect(holder()).toBe('');
    const second = candidate(client, 'b', 30);
    await rest(50);
    expect(second.lease.isLeading).toBe(true);
    second.stop.abort();
    await second.running;
  });

  it('ends the leadership when it cannot be renewed, before another process may lead', async () => {
    const { client, state } = leaseStore();
    const first = candidate(client, 'a', 0.6);
    await rest(100);
    expect(first.lease.isLeading).toBe(true);
    state.down = true;
    const downAt = Date.now();
    await expect(first.running).rejects.toThrow('was lost');
    expect((first.lostAt() ?? 0) - downAt).toBeLessThan(600);
    state.down = false;
    const second = candidate(client, 'b', 0.6);
    await rest(900);
    expect(second.lease.isLeading).toBe(true);
    second.stop.abort();
    await second.running;
  });

  it('is released when the work of the leader fails, and the failure is thrown', async () => {
    const { client, holder } = leaseStore();
    const lease = new LeaderLease({ client, namespace: 'n', name: 'l', identity: 'a' });
    const failing = lease.run(new AbortController().signal, () => Promise.reject(new Error('work failed')));
    await expect(failing).rejects.toThrow('work failed');
    expect(holder()).toBe('');
  });
});
