// The rounds of a Monitor against injected eyes, clock and alarm book: when it looks, what it writes, what it never concludes.

import { beforeEach, describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import { monitor, START } from '../../../test/support/monitor-fixtures.ts';
import { agentClassSpec } from '../../api/agent-class.ts';
import { findCondition } from '../../api/meta.ts';
import type { Monitor, MonitorStatus } from '../../api/monitor.ts';
import { Discovery } from '../../checks/discovery.ts';
import type { HttpAnswer } from '../../checks/http-fetch.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { kubeObject } from '../../kube/object.ts';
import { MONITORS, type Resource } from '../../kube/resources.ts';
import type { Alarm, AlarmEnd } from '../alarm/alarm.ts';
import type { Note } from '../event.ts';
import { MonitorReconciler } from './reconcile.ts';

const KEY = 'tikv/store-down';
const NEVER = new AbortController().signal;

/** Everything around one Monitor. */
class MonitorHarness {
  now = START;
  current: Monitor | undefined;
  answer: HttpAnswer | Error = vector();
  looks = 0;
  failures = 0;
  readonly raised: Alarm[] = [];
  readonly cleared: AlarmEnd[] = [];
  readonly notes: Note[] = [];
  readonly written: MonitorStatus[] = [];
  readonly bindings = new Map<string, KubeObject>();
  bookIsClosed = false;
  isForbidden = false;
  phase: 'Pending' | 'Resolved' = 'Pending';
  readonly reconciler: MonitorReconciler;

  constructor(spec: object = {}, parts: Parameters<typeof monitor>[1] = {}) {
    this.current = monitor({ intervalSeconds: 10, clearSeconds: 20, ...spec }, parts);
    this.reconciler = new MonitorReconciler({
      client: this.#client(),
      agentsNamespace: 'oplab-agents',
      ownNamespaces: ['oplab-system', 'oplab-agents'],
      log: { debug() {}, info() {}, warn() {}, error() {} },
      now: () => new Date(this.now),
      monitor: () => this.current,
      incident: (key) => this.#incident(key),
      agentClass: (name) =>
        name === 'default'
          ? {
              apiVersion: 'oplab.dev/v1alpha1',
              kind: 'AgentClass',
              metadata: { name, uid: 'class', generation: 1 },
              spec: agentClassSpec.parse({ images: { agent: 'a', sandbox: 's' }, readRoles: [{ name: 'read' }] }),
            }
          : undefined,
      checkContext: () => ({
        kube: {
          get: async () => {
            if (this.isForbidden) throw new KubeError(403, 'Forbidden', 'services is forbidden');
            const spec = { clusterIP: '10.0.0.9', selector: { a: 'b' }, ports: [{ port: 9090 }] };
            return kubeObject.parse({ metadata: { name: 'prometheus', namespace: 'tikv' }, spec });
          },
          list: async () => ({ items: [], resourceVersion: '' }),
          read: async () => ({}),
        },
        fetch: async () => {
          this.looks += 1;
          if (this.answer instanceof Error) throw this.answer;
          return this.answer;
        },
        cel: {
          evaluate: async (_expression, { samples }) =>
            samples !== undefined && 'samples' in samples && samples.samples.length === 0
              ? { type: 'passed' }
              : { type: 'failed', text: 'false' },
        },
        discovery: new Discovery(),
        now: () => new Date(this.now),
      }),
      cel: { syntaxError: async (expression) => (expression === 'size(' ? 'it does not parse' : undefined) },
      book: {
        raise: async (alarm) => {
          if (this.bookIsClosed) throw new Error('quota exceeded');
          this.raised.push(alarm);
          return { incident: 'store-down-1', opened: this.raised.length === 1 };
        },
        clear: async (end) => {
          if (this.bookIsClosed) throw new Error('quota exceeded');
          this.cleared.push(end);
        },
      },
      record: (_monitor, note) => this.notes.push(note),
      failedToSee: () => {
        this.failures += 1;
      },
      random: () => 0.5,
    });
  }

  /** One round; returns for how long the Monitor wants to rest. */
  round(): Promise<number | undefined> {
    return this.reconciler.reconcile(KEY, NEVER);
  }

  /** Rounds for so many seconds, each when the Monitor wants it. */
  async pass(seconds: number): Promise<void> {
    const until = this.now + seconds * 1000;
    while (this.now < until) this.now += (await this.round()) ?? seconds * 1000;
  }

  get status(): MonitorStatus | undefined {
    return this.written.at(-1);
  }

  reasons(): string[] {
    return this.notes.map(({ reason }) => reason);
  }

  #incident(key: string) {
    if (this.raised.length === 0) return undefined;
    const conditions =
      this.phase === 'Resolved'
        ? [{ type: 'Finished', status: 'True', reason: 'Resolved', message: '', lastTransitionTime: 't' }]
        : [];
    const check = { name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } };
    return anIncident({
      metadata: { name: key.split('/')[1], namespace: 'tikv' },
      spec: { summary: 's', verify: { checks: [check] } },
      status: { conditions },
    });
  }

  #client(): KubeClient {
    const unused = () => Promise.reject(new Error('not used here'));
    const client: KubeClient = {
      get: async () => {
        if (this.current === undefined) throw new KubeError(404, 'NotFound', 'not found');
        return kubeObject.parse(this.current);
      },
      list: async () => ({ items: [...this.bindings.values()], resourceVersion: '' }),
      apply: async (resource: Resource, object) => {
        const parsed = kubeObject.parse(object);
        if (resource === MONITORS) this.written.push(Object(parsed.status));
        else if (resource.kind === 'RoleBinding') this.bindings.set(parsed.metadata.name, parsed);
        return parsed;
      },
      delete: async (_resource, { name }) => this.bindings.delete(name),
      create: unused,
      createSubresource: unused,
      patch: unused,
      read: unused,
      watch: () => {
        throw new Error('not used here');
      },
      withToken: () => client,
      server: Object(null),
      namespace: undefined,
    };
    return client;
  }
}

function vector(...labels: Record<string, string>[]): HttpAnswer {
  const result = labels.map((metric) => ({ metric, value: [1, '1'] }));
  return { status: 200, body: JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }) };
}
const BAD = vector({ store: '4' });
const DEAD = new Error('ECONNREFUSED');

let ward: MonitorHarness;
beforeEach(() => {
  ward = new MonitorHarness();
});

describe('a Monitor whose Prometheus is dead', () => {
  it('changes no Incident in ten minutes, and says so once', async () => {
    ward.answer = BAD;
    await ward.pass(30);
    expect(ward.raised).toHaveLength(1);
    const [raised, writes] = [ward.raised.length, ward.written.length];
    ward.answer = DEAD;
    await ward.pass(600);
    expect(ward.failures).toBeGreaterThanOrEqual(59);
    expect([ward.raised.length, ward.cleared.length]).toEqual([raised, 0]);
    expect(ward.status).toMatchObject({ state: 'Unknown', alarms: [{ state: 'Firing', incident: 'store-down-1' }] });
    expect(findCondition(ward.status?.conditions, 'Healthy')?.status).toBe('Unknown');
    expect(ward.reasons().filter((reason) => reason === 'ObservationUnreadable')).toHaveLength(1);
    // Nothing new is written now and then only.
    expect(ward.written.length - writes).toBeLessThanOrEqual(21);

    ward.answer = vector();
    await ward.pass(40);
    expect(ward.cleared).toHaveLength(1);
    // Seen at 0, 10 and 20 s, told once: the rest is told at the end.
    expect(ward.cleared[0]?.seen).toMatchObject({ count: 2 });
    expect(ward.reasons()).toContain('Observed');
  });

  it('opens nothing either', async () => {
    ward.answer = DEAD;
    await ward.pass(600);
    expect([ward.raised.length, ward.cleared.length]).toEqual([0, 0]);
  });

  it('does not take a hold for lasting that nobody saw', async () => {
    ward = new MonitorHarness({ forSeconds: 60 });
    ward.answer = BAD;
    await ward.pass(20);
    ward.answer = DEAD;
    await ward.pass(120);
    ward.answer = BAD;
    await ward.pass(50);
    expect(ward.raised).toEqual([]);
    await ward.pass(20);
    expect(ward.raised).toHaveLength(1);
  });
});

describe('rounds', () => {
  it('come at the interval, and just when a hold is over', async () => {
    expect(await ward.round()).toBe(10_000);
    ward = new MonitorHarness({ forSeconds: 3 });
    ward.answer = BAD;
    expect(await ward.round()).toBe(3000);
  });

  it('that come too early, after our own writes for example, look at nothing', async () => {
    await ward.round();
    ward.now += 4000;
    expect(await ward.round()).toBe(6000);
    expect(ward.looks).toBe(1);
  });

  it('come at once when the spec changes', async () => {
    await ward.round();
    ward.current = monitor({ intervalSeconds: 60 }, { metadata: { generation: 2 } });
    expect(await ward.round()).toBe(60_000);
    expect(ward.looks).toBe(2);
  });

  it('count occurrences on the Incident now and then', async () => {
    ward.answer = BAD;
    await ward.pass(100);
    const counts = ward.raised.map(({ seen }) => seen?.count ?? 0);
    expect(counts.length).toBeLessThanOrEqual(4);
    expect(counts[0]).toBe(1);
    expect(counts.slice(1).every((count) => count === 3)).toBe(true);
    expect(new Set(ward.raised.map(({ source }) => source.startTime)).size).toBe(1);
  });

  it('go on where the last leader was', async () => {
    ward.answer = BAD;
    await ward.round();
    const next = new MonitorHarness({}, { status: ward.status ?? {} });
    next.now = ward.now + 5000;
    next.answer = BAD;
    next.raised.push(...ward.raised);
    await next.round();
    expect(next.status?.alarms?.[0]?.startTime).toBe(ward.status?.alarms?.[0]?.startTime);
  });
});

describe('an Incident that cannot be opened', () => {
  it('is told of, and opened by a later look', async () => {
    ward.answer = BAD;
    ward.bookIsClosed = true;
    await ward.round();
    expect(ward.status?.message).toMatch(/quota exceeded/);
    expect(ward.status?.state).toBe('Firing');
    ward.bookIsClosed = false;
    ward.now += 10_000;
    await ward.round();
    expect(ward.raised).toHaveLength(1);
    expect(ward.status?.message).not.toMatch(/quota/);
  });

  it('nor be told that its alarm is over, stays on the list', async () => {
    ward.answer = BAD;
    await ward.round();
    ward.answer = vector();
    ward.bookIsClosed = true;
    await ward.pass(60);
    expect(ward.status?.alarms).toHaveLength(1);
    ward.bookIsClosed = false;
    await ward.pass(20);
    expect(ward.cleared).toHaveLength(1);
    expect(ward.status?.alarms).toEqual([]);
  });
});

describe('rights', () => {
  it('are bound while it watches, and gone when it is suspended or deleted', async () => {
    await ward.round();
    expect([...ward.bindings.values()]).toMatchObject([
      {
        metadata: { namespace: 'tikv', labels: { 'oplab.dev/monitor-uid': '0a1b2c3d-4444' } },
        roleRef: { name: 'read' },
        subjects: [{ name: 'oplab-verify-default', namespace: 'oplab-agents' }],
      },
    ]);
    ward.current = monitor({ suspend: true }, { metadata: { generation: 2 } });
    expect(await ward.round()).toBeUndefined();
    expect(ward.bindings.size).toBe(0);
    expect(ward.status?.state).toBe('Suspended');
    ward.current = monitor({}, { metadata: { generation: 3 } });
    await ward.round();
    expect(ward.bindings.size).toBe(1);
    ward.current = undefined;
    expect(await ward.round()).toBeUndefined();
    expect(ward.bindings.size).toBe(0);
  });

  it('that were just bound may need a moment; after it, their lack is told', async () => {
    ward.isForbidden = true;
    expect(await ward.round()).toBe(250);
    expect(ward.written).toEqual([]);
    ward.now += 4000;
    await ward.round();
    expect(findCondition(ward.status?.conditions, 'Observed')).toMatchObject({ status: 'False', reason: 'Forbidden' });
  });
});

describe('a Monitor that cannot be worked with', () => {
  it.each([
    [
      'a target of oplab itself, whatever its class allows',
      { incident: { summary: 's', targetNamespaces: ['tikv', 'oplab-system'] } },
      'NamespaceNotAllowed',
    ],
    ['a class that is missing', { incident: { summary: 's', agentClassName: 'nobody' } }, 'ClassNotFound'],
    [
      'a check outside of its targets',
      { check: { prometheus: { service: 'p', namespace: 'elsewhere', query: 'up' } } },
      'InvalidCheck',
    ],
    [
      'a soak that is longer than its class gives time for',
      { incident: { summary: 's', verify: { soakSeconds: 3600 } } },
      'SoakTooLong',
    ],
    ['CEL that does not parse', { check: { prometheus: { service: 'p', query: 'up', cel: 'size(' } } }, 'InvalidCheck'],
    [
      'a check that is named like its own',
      {
        incident: {
          summary: 's',
          verify: {
            checks: [{ name: 'monitor', kubernetes: { apiVersion: 'v1', kind: 'Pod', name: 'p', cel: 'true' } }],
          },
        },
      },
      'InvalidCheck',
    ],
  ])('because of %s does not look, and says why', async (_why, spec, reason) => {
    ward = new MonitorHarness(spec);
    expect(await ward.round()).toBeUndefined();
    expect(ward.looks).toBe(0);
    expect(findCondition(ward.status?.conditions, 'Accepted')).toMatchObject({ status: 'False', reason });
    expect(ward.reasons()).toEqual([reason]);
    expect(ward.bindings.size).toBe(0);
  });
});
