// The rounds of a Monitor: when it runs its check, what it writes, and what it never concludes.

import { beforeEach, describe, expect, it } from 'vitest';
import { anIncident } from '../../../test/support/an-incident.ts';
import { fakeService } from '../../../test/support/fake-service.ts';
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
const PROMETHEUS = fakeService({ name: 'prometheus' });

/** Everything around one Monitor. */
class MonitorHarness {
  now = START;
  current: Monitor | undefined;
  answer: HttpAnswer | Error = vector();
  probes = 0;
  failures = 0;
  readonly raised: Alarm[] = [];
  readonly cleared: AlarmEnd[] = [];
  readonly notes: Note[] = [];
  readonly written: MonitorStatus[] = [];
  readonly bindings = new Map<string, KubeObject>();
  cannotWrite = false;
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
          ...PROMETHEUS,
          get: async (resource, ref) => {
            if (this.isForbidden) throw new KubeError(403, 'Forbidden', 'services is forbidden');
            return await PROMETHEUS.get(resource, ref);
          },
          read: async () => ({}),
        },
        fetch: async () => {
          this.probes += 1;
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
      incidentOpener: {
        raise: async (alarm) => {
          if (this.cannotWrite) throw new Error('quota exceeded');
          this.raised.push(alarm);
          return { incident: 'store-down-1', opened: this.raised.length === 1 };
        },
        clear: async (end) => {
          if (this.cannotWrite) throw new Error('quota exceeded');
          this.cleared.push(end);
        },
      },
      record: (_monitor, note) => this.notes.push(note),
      onFailedProbe: () => {
        this.failures += 1;
      },
      random: () => 0.5,
    });
  }

  /** Runs one round and returns the milliseconds until the next one. */
  round(): Promise<number | undefined> {
    return this.reconciler.reconcile(KEY, NEVER);
  }

  /** Runs rounds for the given seconds, each when it is due. */
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

let harness: MonitorHarness;
beforeEach(() => {
  harness = new MonitorHarness();
});

describe('a Monitor whose Prometheus is dead', () => {
  it('changes no Incident in ten minutes, and records one event', async () => {
    harness.answer = BAD;
    await harness.pass(30);
    expect(harness.raised).toHaveLength(1);
    const [raised, writes] = [harness.raised.length, harness.written.length];
    harness.answer = DEAD;
    await harness.pass(600);
    expect(harness.failures).toBeGreaterThanOrEqual(59);
    expect([harness.raised.length, harness.cleared.length]).toEqual([raised, 0]);
    expect(harness.status).toMatchObject({ state: 'Unknown', alarms: [{ state: 'Firing', incident: 'store-down-1' }] });
    expect(findCondition(harness.status?.conditions, 'Healthy')?.status).toBe('Unknown');
    expect(harness.reasons().filter((reason) => reason === 'ObservationUnreadable')).toHaveLength(1);
    // A status without material changes is written at times only.
    expect(harness.written.length - writes).toBeLessThanOrEqual(21);

    harness.answer = vector();
    await harness.pass(40);
    expect(harness.cleared).toHaveLength(1);
    // It failed at 0, 10 and 20 s and was reported once. The rest is reported at the end.
    expect(harness.cleared[0]?.seen).toMatchObject({ count: 2 });
    expect(harness.reasons()).toContain('Observed');
  });

  it('opens nothing either', async () => {
    harness.answer = DEAD;
    await harness.pass(600);
    expect([harness.raised.length, harness.cleared.length]).toEqual([0, 0]);
  });

  it('does not count the time without observations as failing', async () => {
    harness = new MonitorHarness({ forSeconds: 60 });
    harness.answer = BAD;
    await harness.pass(20);
    harness.answer = DEAD;
    await harness.pass(120);
    harness.answer = BAD;
    await harness.pass(50);
    expect(harness.raised).toEqual([]);
    await harness.pass(20);
    expect(harness.raised).toHaveLength(1);
  });
});

describe('rounds', () => {
  it('come at the interval, and exactly when forSeconds end', async () => {
    expect(await harness.round()).toBe(10_000);
    harness = new MonitorHarness({ forSeconds: 3 });
    harness.answer = BAD;
    expect(await harness.round()).toBe(3000);
  });

  it('that come too early, for example after our own writes, run no check', async () => {
    await harness.round();
    harness.now += 4000;
    expect(await harness.round()).toBe(6000);
    expect(harness.probes).toBe(1);
  });

  it('come at once when the spec changes', async () => {
    await harness.round();
    harness.current = monitor({ intervalSeconds: 60 }, { metadata: { generation: 2 } });
    expect(await harness.round()).toBe(60_000);
    expect(harness.probes).toBe(2);
  });

  it('report occurrences to the Incident at times', async () => {
    harness.answer = BAD;
    await harness.pass(100);
    const counts = harness.raised.map(({ seen }) => seen?.count ?? 0);
    expect(counts.length).toBeLessThanOrEqual(4);
    expect(counts[0]).toBe(1);
    expect(counts.slice(1).every((count) => count === 3)).toBe(true);
    expect(new Set(harness.raised.map(({ source }) => source.startTime)).size).toBe(1);
  });

  it('continue where the previous leader stopped', async () => {
    harness.answer = BAD;
    await harness.round();
    const next = new MonitorHarness({}, { status: harness.status ?? {} });
    next.now = harness.now + 5000;
    next.answer = BAD;
    next.raised.push(...harness.raised);
    await next.round();
    expect(next.status?.alarms?.[0]?.startTime).toBe(harness.status?.alarms?.[0]?.startTime);
  });
});

describe('an Incident that cannot be written', () => {
  it('is reported in the status, and opened after a later probe', async () => {
    harness.answer = BAD;
    harness.cannotWrite = true;
    await harness.round();
    expect(harness.status?.message).toMatch(/quota exceeded/);
    expect(harness.status?.state).toBe('Firing');
    harness.cannotWrite = false;
    harness.now += 10_000;
    await harness.round();
    expect(harness.raised).toHaveLength(1);
    expect(harness.status?.message).not.toMatch(/quota/);
  });

  it('keeps an alarm in the status until the end of the alarm is reported', async () => {
    harness.answer = BAD;
    await harness.round();
    harness.answer = vector();
    harness.cannotWrite = true;
    await harness.pass(60);
    expect(harness.status?.alarms).toHaveLength(1);
    harness.cannotWrite = false;
    await harness.pass(20);
    expect(harness.cleared).toHaveLength(1);
    expect(harness.status?.alarms).toEqual([]);
  });
});

describe('read bindings', () => {
  it('exist while the Monitor is active, and are deleted when it is suspended or deleted', async () => {
    await harness.round();
    expect([...harness.bindings.values()]).toMatchObject([
      {
        metadata: { namespace: 'tikv', labels: { 'oplab.dev/monitor-uid': '0a1b2c3d-4444' } },
        roleRef: { name: 'read' },
        subjects: [{ name: 'oplab-verify-default', namespace: 'oplab-agents' }],
      },
    ]);
    harness.current = monitor({ suspend: true }, { metadata: { generation: 2 } });
    expect(await harness.round()).toBeUndefined();
    expect(harness.bindings.size).toBe(0);
    expect(harness.status?.state).toBe('Suspended');
    harness.current = monitor({}, { metadata: { generation: 3 } });
    await harness.round();
    expect(harness.bindings.size).toBe(1);
    harness.current = undefined;
    expect(await harness.round()).toBeUndefined();
    expect(harness.bindings.size).toBe(0);
  });

  it('that are new may take a moment to work; after that, the status reports the refusal', async () => {
    harness.isForbidden = true;
    expect(await harness.round()).toBe(250);
    expect(harness.written).toEqual([]);
    harness.now += 4000;
    await harness.round();
    expect(findCondition(harness.status?.conditions, 'Observed')).toMatchObject({
      status: 'False',
      reason: 'Forbidden',
    });
  });
});

describe('a Monitor that is not accepted', () => {
  it.each([
    [
      'a target that is a namespace of oplab itself, whatever its class allows',
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
      'a soak that is not shorter than the time limit of its class',
      { incident: { summary: 's', verify: { soakSeconds: 3600 } } },
      'SoakTooLong',
    ],
    ['CEL that does not parse', { check: { prometheus: { service: 'p', query: 'up', cel: 'size(' } } }, 'InvalidCheck'],
    [
      "a check with the name of the Monitor's own check",
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
  ])('because of %s runs no check and reports why', async (_why, spec, reason) => {
    harness = new MonitorHarness(spec);
    expect(await harness.round()).toBeUndefined();
    expect(harness.probes).toBe(0);
    expect(findCondition(harness.status?.conditions, 'Accepted')).toMatchObject({ status: 'False', reason });
    expect(harness.reasons()).toEqual([reason]);
    expect(harness.bindings.size).toBe(0);
  });
});
