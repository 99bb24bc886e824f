// When an attempt may act: each way in which a lease is live, reached, pending or dead.

import { describe, expect, it } from 'vitest';
import { anIncident } from '../../test/support/an-incident.ts';
import type { Incident } from '../api/incident.ts';
import { LeaseRegistry } from './lease-registry.ts';
import { type Limit, leaseFor } from './leases.ts';

const START = Date.parse('2026-11-22T10:00:00Z');
const condition = (type: string, status: string, reason: string) => ({
  ...{ type, status, reason, message: '', lastTransitionTime: '2026-11-22T10:05:00Z' },
});

interface Shape {
  readonly spec?: object;
  readonly status?: object;
  readonly attempt?: object;
  readonly metadata?: object;
}

function incident({ spec = {}, status = {}, attempt = {}, metadata = {} }: Shape = {}): Incident {
  return anIncident({
    metadata: { name: 'down', namespace: 'tikv', uid: 'incident-1', ...metadata },
    spec: { summary: 'down', verify: { checks: [{ name: 'up' }] }, ...spec },
    status: {
      startTime: new Date(START).toISOString(),
      limits: { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 },
      attempts: [
        {
          number: 1,
          sessionID: 'incident-1',
          podName: 'down-1',
          podUID: 'pod-1',
          serviceAccountName: 'down-1',
          class: {
            name: 'default',
            generation: 1,
            mode: 'Repair',
            model: 'm',
            summaryModel: 's',
            maxOutputTokens: 1000,
          },
          startTime: new Date(START).toISOString(),
          ...attempt,
        },
      ],
      ...status,
    },
  });
}

describe('leaseFor', () => {
  const decide = (shape: Shape, options: { attempt?: number; pod?: string; limitReached?: Limit; at?: number } = {}) =>
    leaseFor(
      incident(shape),
      options.attempt ?? 1,
      options.pod ?? 'pod-1',
      options.limitReached,
      START + (options.at ?? 1000),
    );

  it('is live for the pod of the current attempt', () => {
    expect(decide({})).toMatchObject({
      state: 'live',
      lease: {
        session: 'incident-1',
        attempt: 1,
        podUID: 'pod-1',
        targetNamespaces: ['tikv'],
        deadline: START + 900_000,
      },
    });
  });

  it.each<[string, Shape]>([
    ['cancelled', { spec: { cancel: true } }],
    ['being deleted', { metadata: { deletionTimestamp: '2026-11-22T10:01:00Z' } }],
    ['finished', { status: { conditions: [condition('Finished', 'True', 'Resolved')] } }],
    ['being sealed', { status: { conditions: [condition('AuditSealed', 'False', 'SealRequested')] } }],
    ['sealed late', { status: { conditions: [condition('AuditSealed', 'False', 'GatewayUnavailable')] } }],
    [
      'a log that is not sealed because it is broken',
      { status: { conditions: [condition('AuditSealed', 'False', 'AuditBroken')] } },
    ],
    [
      'a write without explanation',
      { status: { conditions: [condition('WritesExplained', 'False', 'UnexplainedWrite')] } },
    ],
    ['attempt ended', { attempt: { endTime: '2026-11-22T10:02:00Z', reason: 'Claimed' } }],
    ['another pod', { attempt: { podUID: 'pod-2' } }],
  ])('is dead when %s', (_, shape) => {
    expect(decide(shape).state).toBe('dead');
  });

  it('is dead without an Incident, and once another attempt has taken over', () => {
    expect(leaseFor(undefined, 1, 'pod-1', undefined, START).state).toBe('dead');
    expect(decide({ attempt: { number: 2 } }, { attempt: 1 })).toMatchObject({
      state: 'dead',
      message: 'attempt 2 has taken over',
    });
  });

  it.each<[string, Shape, number]>([
    ['the pod is not in status', { attempt: { podUID: undefined } }, 1],
    ['the attempt is not in status', {}, 2],
    ['the limits are not in status', { status: { limits: undefined } }, 1],
    ['no attempt has begun', { status: { attempts: [] } }, 1],
  ])('is pending while %s', (_, shape, attempt) => {
    expect(decide(shape, { attempt }).state).toBe('pending');
  });

  it('is reached by the budget, by the status and by time', () => {
    expect(decide({}, { limitReached: 'turns' })).toMatchObject({ state: 'reached', limit: 'turns' });
    const usage = {
      turns: 1,
      modelCalls: 1,
      inputTokens: 1,
      outputTokens: 1,
      cacheReadTokens: 0,
      cacheWriteTokens: 0,
      costMilliUSD: 1,
    };
    expect(decide({ status: { usage: { ...usage, limitReached: 'cost' } } })).toMatchObject({
      state: 'reached',
      limit: 'cost',
    });
    expect(decide({}, { at: 899_999 }).state).toBe('live');
    expect(decide({}, { at: 900_000 })).toMatchObject({ state: 'reached', limit: 'time' });
  });

  it('stays live while the Incident is suspended, which only prevents new attempts', () => {
    expect(decide({ spec: { suspend: true } }).state).toBe('live');
  });
});

describe('LeaseRegistry', () => {
  const bearer = { podUID: 'pod-1', podName: 'down-1', serviceAccount: 'down-1' };
  function registry(now = () => START) {
    const limitReached = new Map<string, Limit>();
    const leases = new LeaseRegistry({ limitReached: (session) => limitReached.get(session), now });
    leases.incidentChanged({ type: 'added', object: incident() });
    return { leases, limitReached };
  }

  it('cuts held streams once, before the handling of the event that ends the lease returns', () => {
    const { leases } = registry();
    const deaths: string[] = [];
    const hold = leases.hold(bearer, 'act', (message) => deaths.push(message));
    const released = leases.hold(bearer, 'act', () => deaths.push('released'));
    released.release();
    expect(hold.alive()).toBe(true);
    leases.incidentChanged({ type: 'modified', object: incident({ spec: { cancel: true } }), previous: incident() });
    expect(deaths).toEqual(['the Incident is cancelled']);
    expect(hold.alive()).toBe(false);
    leases.sweep();
    expect(deaths).toHaveLength(1);
  });

  it('finds a deadline by itself', async () => {
    let now = START;
    const { leases } = registry(() => now);
    const died = new Promise<string>((resolve) => leases.hold(bearer, 'act', resolve));
    now = START + 900_000;
    expect(await died).toBe("the Incident's limit of time is reached");
  });

  it('lets reserved calls and reports, but no acts, outlive a reached limit', () => {
    const { leases, limitReached } = registry();
    const dead: string[] = [];
    for (const purpose of ['act', 'reserved', 'report'] as const)
      leases.hold(bearer, purpose, () => dead.push(purpose));
    limitReached.set('incident-1', 'tokens');
    leases.sweep();
    expect(dead).toEqual(['act']);
    expect(() => leases.require(bearer, 'act')).toThrow(expect.objectContaining({ code: 'OPLAB_LIMIT_REACHED' }));
    expect(leases.require(bearer, 'report').attempt).toBe(1);
  });

  it('has no lease after a write that no command explains, and cuts what is open', () => {
    const unexplained = new Map<string, string>();
    const leases = new LeaseRegistry({
      limitReached: () => undefined,
      unexplained: (session) => unexplained.get(session),
      now: () => START,
    });
    leases.incidentChanged({ type: 'added', object: incident() });
    const died: string[] = [];
    leases.hold(bearer, 'report', (message) => died.push(message));
    unexplained.set('another', 'create pods');
    leases.sweep();
    expect(died).toEqual([]);
    unexplained.set('incident-1', 'create pods');
    leases.sweep();
    expect(died).toEqual(['UnexplainedWrite: create pods']);
    expect(() => leases.require(bearer, 'report')).toThrow(expect.objectContaining({ code: 'OPLAB_NO_LEASE' }));
  });

  it('has no lease for another account, an unknown pod or a deleted pod', () => {
    const { leases } = registry();
    expect(leases.decide({ ...bearer, serviceAccount: 'other' }).state).toBe('dead');
    expect(leases.decide({ ...bearer, podUID: 'pod-9' }).state).toBe('pending');
    const pod = { metadata: { name: 'down-1', uid: 'pod-1', labels: {} } };
    leases.podChanged({ type: 'added', object: pod });
    leases.podChanged({ type: 'deleted', object: pod });
    expect(leases.decide(bearer)).toMatchObject({ state: 'dead', message: 'the pod no longer exists' });
  });

  it('distinguishes an Incident from a deleted one with the same name', () => {
    const { leases } = registry();
    const namesake = incident({ metadata: { uid: 'incident-2' }, status: { attempts: [] } });
    leases.incidentChanged({ type: 'modified', object: namesake, previous: incident() });
    expect(leases.incident('incident-1')).toBeUndefined();
    expect(leases.decide(bearer).state).toBe('pending');
  });
});
