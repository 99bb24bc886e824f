// The Incident opener against an in-memory API server with refusals, conflicts and delays.

import { describe, expect, it } from 'vitest';
import { API_VERSION, LABEL_FINGERPRINT } from '../../api/group.ts';
import { type Incident, incident as incidentSchema } from '../../api/incident.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import { KubeError } from '../../kube/errors.ts';
import { kubeObject } from '../../kube/object.ts';
import type { Note } from '../event.ts';
import { type Alarm, type AlarmEnd, incidentName } from './alarm.ts';
import { IncidentOpener } from './incident-opener.ts';

const T0 = Date.UTC(2026, 0, 1);
const at = (second: number): string => new Date(T0 + second * 1000).toISOString();

/** The parts of an API server that the opener uses. */
class Memory {
  readonly objects = new Map<string, KubeObject>();
  readonly calls = { list: 0, create: 0, apply: 0 };
  readonly notes: Note[] = [];
  /** How many of the next status writes conflict with another writer. */
  conflicts = 0;
  #version = 0;

  readonly client: Pick<KubeClient, 'list' | 'get' | 'create' | 'apply'> = {
    list: async (_resource, options) => {
      this.calls.list += 1;
      await new Promise((resolve) => setTimeout(resolve, 1));
      const [label, value] = (options?.labelSelector ?? '').split('=');
      const items = [...this.objects.values()].filter((object) => object.metadata.labels?.[label ?? ''] === value);
      return { items, resourceVersion: '' };
    },
    get: async (_resource, ref) => {
      const found = this.objects.get(ref.name);
      if (found === undefined) throw new KubeError(404, 'NotFound', 'not found');
      return found;
    },
    create: async (_resource, object) => {
      this.calls.create += 1;
      const name = object.metadata?.name ?? '';
      if (this.objects.has(name)) throw new KubeError(409, 'AlreadyExists', 'exists');
      const made = this.#stored({ apiVersion: API_VERSION, kind: 'Incident', ...object });
      this.objects.set(name, made);
      return made;
    },
    apply: async (_resource, object) => {
      this.calls.apply += 1;
      const known = this.objects.get(object.metadata?.name ?? '');
      if (known === undefined) throw new KubeError(404, 'NotFound', 'not found');
      const isStale = object.metadata?.resourceVersion !== known.metadata.resourceVersion;
      if (this.conflicts > 0 || isStale) {
        this.conflicts -= 1;
        throw new KubeError(409, 'Conflict', 'it was changed');
      }
      const written = this.#stored({ ...known, status: { ...Object(known.status), ...Object(object.status) } });
      this.objects.set(known.metadata.name, written);
      return written;
    },
  };

  readonly opener = new IncidentOpener({
    client: this.client,
    now: () => new Date(T0 + 1000_000),
    record: (_incident, note) => this.notes.push(note),
  });

  incidents(): Incident[] {
    return [...this.objects.values()].map((object) => incidentSchema.parse(object));
  }

  finish(name: string): void {
    const known = this.objects.get(name);
    const conditions = [
      { type: 'Finished', status: 'True', reason: 'Resolved', message: '', lastTransitionTime: at(0) },
    ];
    if (known !== undefined)
      this.objects.set(name, this.#stored({ ...known, status: { ...Object(known.status), conditions } }));
  }

  #stored(object: object): KubeObject {
    const parsed = kubeObject.parse(object);
    this.#version += 1;
    return { ...parsed, metadata: { ...parsed.metadata, resourceVersion: String(this.#version) } };
  }
}

const alarm = (startTime: number, fingerprint = 'f1', name = 'stores-up'): Alarm => ({
  source: { kind: 'Monitor', name, fingerprint, startTime: at(startTime) },
  namespace: 'tikv',
  severity: 'critical',
  labels: { store: '4' },
  annotations: {},
  incident: {
    summary: 'a store is down',
    verify: {
      soakSeconds: 10,
      checks: [{ name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } }],
    },
  },
});
const end = (endTime: number, source: Partial<AlarmEnd['source']> = {}): AlarmEnd => ({
  source: { ...alarm(0).source, ...source },
  namespace: 'tikv',
  endTime: at(endTime),
});
/** The same alarm as another source reports it. */
const by = (source: Partial<AlarmEnd['source']>, startTime = 10): Alarm => {
  const one = alarm(startTime);
  return { ...one, source: { ...one.source, ...source } };
};

describe('the Incident opener', () => {
  it('opens one Incident for an episode and counts further alarms', async () => {
    const { opener, ...memory } = new Memory();
    const first = await opener.raise(alarm(10));
    expect(first).toEqual({ incident: incidentName(alarm(10).source), opened: true });
    expect(await opener.raise(alarm(10))).toEqual({ ...first, opened: false });
    const stored = [...memory.objects.values()];
    expect(stored).toHaveLength(1);
    expect(stored[0]).toMatchObject({
      metadata: { name: expect.stringMatching(/^stores-up-[0-9a-f]{8}$/), labels: { [LABEL_FINGERPRINT]: 'f1' } },
      spec: { severity: 'critical', alertLabels: { store: '4' }, source: alarm(10).source },
      status: { alarm: { state: 'Firing', occurrences: 2, firstSeen: at(10) } },
    });
  });

  it('writes once for simultaneous calls', async () => {
    const memory = new Memory();
    const raised = await Promise.all(Array.from({ length: 50 }, () => memory.opener.raise(alarm(10))));
    expect(new Set(raised.map(({ incident }) => incident)).size).toBe(1);
    expect(memory.calls).toEqual({ list: 1, create: 1, apply: 1 });
    expect(memory.incidents()[0]?.status?.alarm?.occurrences).toBe(50);
  });

  it('opens an Incident for each fingerprint', async () => {
    const memory = new Memory();
    await Promise.all([memory.opener.raise(alarm(10, 'f1')), memory.opener.raise(alarm(10, 'f2'))]);
    expect(memory.incidents().map((incident) => incident.spec.source?.fingerprint)).toEqual(['f1', 'f2']);
  });

  it('reads again after a conflict, and still reports that it opened the Incident', async () => {
    const memory = new Memory();
    memory.conflicts = 2;
    expect((await memory.opener.raise(alarm(10))).opened).toBe(true);
    expect(memory.calls.create).toBe(1);
    expect(memory.incidents()[0]?.status?.alarm?.occurrences).toBe(1);
  });

  it('never opens a finished episode again, and opens the next one', async () => {
    const memory = new Memory();
    const { incident } = await memory.opener.raise(alarm(10));
    memory.finish(incident ?? '');
    expect(await memory.opener.raise(alarm(10))).toEqual({ incident, opened: false });
    await memory.opener.clear(end(20));
    expect((await memory.opener.raise(alarm(30))).opened).toBe(true);
    expect(memory.incidents()).toHaveLength(2);
  });

  it('clears the open Incident and counts a flap when the alarm comes back', async () => {
    const memory = new Memory();
    await memory.opener.raise(alarm(10));
    await memory.opener.clear(end(20));
    expect(memory.incidents()[0]?.status?.alarm).toMatchObject({ state: 'Cleared', clearedTime: at(20) });
    expect((await memory.opener.raise(alarm(30))).opened).toBe(false);
    expect(memory.incidents()[0]?.status?.alarm).toMatchObject({ state: 'Firing', flaps: 1, occurrences: 2 });
    expect(memory.notes.map(({ reason }) => reason)).toEqual(['Opened', 'AlarmCleared', 'AlarmBack']);
  });

  it('opens nothing for an episode whose end arrived first', async () => {
    const memory = new Memory();
    await memory.opener.clear(end(20));
    expect(await memory.opener.raise(alarm(10))).toEqual({ incident: undefined, opened: false });
    expect((await memory.opener.raise(alarm(30))).opened).toBe(true);
  });

  it.each<[string, Partial<AlarmEnd['source']>, Partial<AlarmEnd['source']>]>([
    ["a Monitor's, by a route", {}, { kind: 'Webhook', name: 'stores-up' }],
    ["a route's, by another route", { kind: 'Webhook', name: 'a/Down' }, { kind: 'Webhook', name: 'b/Down' }],
    ["a route's, by a Monitor", { kind: 'Webhook', name: 'a' }, { kind: 'Monitor', name: 'a' }],
    ["a route's, by another kind of sender", { kind: 'Webhook', name: 'a' }, { kind: 'Alertmanager', name: 'a' }],
    ["a Monitor's, by another Monitor", {}, { name: 'other' }],
  ])(
    'neither clears nor counts on the Incident of another source with the same fingerprint: %s',
    async (_what, owner, other) => {
      const memory = new Memory();
      const { incident } = await memory.opener.raise(by(owner));
      await memory.opener.clear(end(20, other));
      expect((await memory.opener.raise(by(other, 30))).incident).not.toBe(incident);
      const found = memory.incidents().find(({ metadata }) => metadata.name === incident);
      expect(found?.status?.alarm).toMatchObject({ state: 'Firing', occurrences: 1 });
      await memory.opener.clear(end(40, owner));
      expect(memory.incidents().find(({ metadata }) => metadata.name === incident)?.status?.alarm?.state).toBe(
        'Cleared',
      );
    },
  );

  it('clears the alarm of a route although the end does not name the alert', async () => {
    const memory = new Memory();
    await memory.opener.raise(by({ kind: 'Webhook', name: 'a/Down' }));
    await memory.opener.clear(end(20, { kind: 'Webhook', name: 'a' }));
    expect(memory.incidents()[0]?.status?.alarm?.state).toBe('Cleared');
  });

  it('uses a longer name when another object has the first one', async () => {
    const memory = new Memory();
    const name = incidentName(alarm(10).source);
    await memory.client.create(
      { group: '', version: '', plural: '', kind: '', namespaced: true },
      { metadata: { name, namespace: 'tikv' }, spec: { summary: 'by hand', verify: alarm(10).incident.verify } },
    );
    const raised = await memory.opener.raise(alarm(10));
    expect(raised.opened).toBe(true);
    expect(raised.incident).toMatch(new RegExp(`^${name}[0-9a-f]{8}$`));
  });

  it('opens one Incident when two replicas raise the same episode at the same time', async () => {
    const memory = new Memory();
    const other = new IncidentOpener({ client: memory.client, now: () => new Date(T0), record: () => {} });
    const raised = await Promise.all([memory.opener.raise(alarm(10)), other.raise(alarm(10))]);
    expect(new Set(raised.map(({ incident }) => incident)).size).toBe(1);
    expect(raised.filter(({ opened }) => opened)).toHaveLength(1);
    expect(memory.incidents()[0]?.status?.alarm?.occurrences).toBe(2);
  });

  it('rejects all waiting calls when the API server refuses, and recovers afterwards', async () => {
    const memory = new Memory();
    const create = memory.client.create;
    memory.client.create = () => Promise.reject(new KubeError(403, 'Forbidden', 'no'));
    await expect(Promise.all([memory.opener.raise(alarm(10)), memory.opener.raise(alarm(10))])).rejects.toThrow('no');
    memory.client.create = create;
    expect((await memory.opener.raise(alarm(10))).opened).toBe(true);
  });
});
