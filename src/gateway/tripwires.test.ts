// Tripwires: the lease ends before the touch is recorded, and stays ended after a restart.

import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { anIncident } from '../../test/support/an-incident.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { canaryToken } from '../api/canary.ts';
import type { Entry, NewEntry } from '../audit/entry.ts';
import { listen } from '../net/tls-server.ts';
import { canaryHost } from './canary-host.ts';
import { LeaseRegistry } from './lease-registry.ts';
import { type Tripwire, Tripwires } from './tripwires.ts';

const KEY = 'a key that is long enough for a test';
const attempt = { session: 'session', attempt: 2 };
const incident = anIncident({ metadata: { name: 'down', namespace: 'tikv', uid: 'session', generation: 3 } });

function setUp(options: { key?: string | undefined; append?: () => Promise<never> } = { key: KEY }) {
  const entries: (NewEntry & { writer: string })[] = [];
  const order: string[] = [];
  const log = {
    append: async ({ writer }: { writer: string }, entry: NewEntry) => {
      await options.append?.();
      entries.push({ ...entry, writer });
      order.push('recorded');
      return { seq: entries.length, duplicate: false };
    },
    read: async () => entries.map((entry, index) => ({ ...entry, seq: index + 1, time: 't' }) as unknown as Entry),
  };
  const touched: [Tripwire, string][] = [];
  const onTouch = (_session: string, tripwire: Tripwire, message: string) => {
    touched.push([tripwire, message]);
    order.push('lease ended');
  };
  const start = () =>
    new Tripwires({
      key: options.key,
      secretName: 'cloud-admin-credentials',
      log: log as unknown as ConstructorParameters<typeof Tripwires>[0]['log'],
      logger: silentLogger(),
      onTouch,
      onRecord: () => order.push('reported'),
    });
  return { tripwires: start(), start, entries, touched, order };
}

describe('Tripwires', () => {
  it('end the lease first, then record what was touched, once', async () => {
    const { tripwires, entries, touched, order } = setUp();
    await tripwires.trip(attempt, 'secret', 'get of Secret tikv/cloud-admin-credentials');
    await tripwires.trip(attempt, 'host', 'a connection');
    expect(order).toEqual(['lease ended', 'recorded', 'reported']);
    const message = 'attempt 2 touched a tripwire: get of Secret tikv/cloud-admin-credentials';
    expect(touched).toEqual([['secret', message]]);
    expect(entries).toMatchObject([{ kind: 'lifecycle', writer: 'gateway', content: message }]);
    expect(tripwires.condition(incident)).toMatchObject({
      type: 'TripwiresIntact',
      status: 'False',
      reason: 'TripwireTouched',
      message,
      observedGeneration: 3,
    });
  });

  it('end the lease although the log accepts no entry', async () => {
    const append = () => Promise.reject(new Error('disk full'));
    const { tripwires, order } = setUp({ key: KEY, append });
    await tripwires.trip(attempt, 'secret', 'x');
    expect(tripwires.touched('session')).toContain('x');
    expect(order).toEqual(['lease ended', 'reported']);
  });

  it('are known to be touched after a restart, from the log or from the status', async () => {
    const { tripwires, start } = setUp();
    await tripwires.trip(attempt, 'secret', 'x');
    const condition = tripwires.condition(incident);
    const restarted = start();
    expect(restarted.touched('session')).toBeUndefined();
    await restarted.load(incident);
    expect(restarted.touched('session')).toBe('attempt 2 touched a tripwire: x');

    const { tripwires: withoutLog } = setUp();
    await withoutLog.load({ ...incident, status: { ...incident.status, conditions: condition ? [condition] : [] } });
    expect(withoutLog.touched('session')).toBe('attempt 2 touched a tripwire: x');
  });

  it('find the canary token of an attempt, and no token that is made up', () => {
    const { tripwires } = setUp();
    const others = [{ session: 'other', attempt: 1 }, attempt];
    expect(tripwires.findToken(`Bearer ${canaryToken(KEY, attempt)}`, others)).toEqual(attempt);
    expect(tripwires.findToken(`Bearer ${canaryToken('another key', attempt)}`, others)).toBeUndefined();
    expect(tripwires.findToken('Bearer a.b.c', others)).toBeUndefined();
  });

  it('do not exist without a key', () => {
    const { tripwires } = setUp({ key: undefined });
    expect(tripwires.secretName).toBeUndefined();
    expect(tripwires.findToken(canaryToken(KEY, attempt), [attempt])).toBeUndefined();
  });
});

describe('a lease', () => {
  const bearer = { podUID: 'pod-1', podName: 'down-2', serviceAccount: 'down-2' };
  const pod = (parts: { uid?: string; ip?: string; annotations?: Record<string, string> }) => ({
    metadata: {
      name: 'down-2',
      uid: parts.uid ?? 'pod-1',
      labels: { 'oplab.dev/incident-uid': 'session', 'oplab.dev/attempt': '2' },
      annotations: parts.annotations ?? {},
    },
    status: { podIPs: parts.ip === undefined ? [] : [{ ip: parts.ip }] },
  });

  it('is dead as soon as a tripwire is touched', () => {
    let touched: string | undefined;
    const leases = new LeaseRegistry({ limitReached: () => undefined, tripwireTouched: () => touched });
    leases.podChanged({ type: 'added', object: pod({}) });
    const deaths: string[] = [];
    leases.hold(bearer, 'report', (message) => deaths.push(message));
    touched = 'attempt 2 touched a tripwire: x';
    leases.sweep();
    expect(leases.decide(bearer)).toEqual({ state: 'dead', message: touched });
    expect(deaths).toEqual([touched]);
  });

  it('is found by the address of its pod, the newest one', () => {
    const leases = new LeaseRegistry({ limitReached: () => undefined });
    leases.podChanged({ type: 'added', object: pod({ ip: '10.1.0.7' }) });
    leases.podChanged({ type: 'added', object: pod({ uid: 'pod-2', ip: 'fd00::7' }) });
    expect(leases.attemptAt('10.1.0.7')).toEqual(attempt);
    expect(leases.attemptAt('fd00::7')).toEqual(attempt);
    expect(leases.attemptAt('10.1.0.8')).toBeUndefined();
  });

  it('knows the namespaces that hold a canary', () => {
    const leases = new LeaseRegistry({ limitReached: () => undefined });
    leases.podChanged({
      type: 'added',
      object: pod({ annotations: { 'oplab.dev/canary-namespaces': 'tikv,pd' } }),
    });
    expect(leases.canaryNamespaces('pod-1')).toEqual(['tikv', 'pd']);
    expect(leases.canaryNamespaces('pod-2')).toEqual([]);
  });
});

describe('the canary host', () => {
  it('trips for the attempt whose pod connects, and answers nothing', async () => {
    const trip = vi.fn(async () => '');
    const attemptAt = vi.fn((address: string) => (address === '127.0.0.1' ? attempt : undefined));
    const server = canaryHost({ host: 'vault.x.svc', tripwires: { trip }, attemptAt, logger: silentLogger() });
    const socket = connect(await listen(server, 0, '127.0.0.1'), '127.0.0.1');
    const received: Buffer[] = [];
    socket.on('data', (chunk) => received.push(chunk)).on('error', () => {});
    await once(socket, 'close');
    server.close();
    expect(trip).toHaveBeenCalledExactlyOnceWith(attempt, 'host', 'a connection to the host vault.x.svc');
    expect(received).toEqual([]);
  });
});
