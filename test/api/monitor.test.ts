// Monitors against a real Prometheus and a real API server, with the chart's rights: they open,
// count and close Incidents, or leave them alone.

import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { LABEL_MONITOR_UID } from '../../src/api/group.ts';
import { type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import { findCondition } from '../../src/api/meta.ts';
import { type Monitor, monitor as monitorSchema } from '../../src/api/monitor.ts';
import { type HttpFetch, httpFetch } from '../../src/checks/http-fetch.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import {
  ENDPOINT_SLICES,
  EVENTS,
  INCIDENTS,
  MONITORS,
  PODS,
  type Resource,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../src/kube/resources.ts';
import { type ApiServer, SYSTEM, startApiServer } from '../support/api-server.ts';
import { ADMISSION_KINDS, applyChart, clientAs } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { IncidentProbe, Patient } from '../support/incident-probe.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { type Exposition, type PrometheusServer, startExposition, startPrometheus } from '../support/prometheus.ts';
import { type RunningController, startController } from '../support/running-controller.ts';

const HEALTHY = 'patient_broken{store="4"} 0\npatient_broken{store="5"} 0\n';
const BROKEN = 'patient_broken{store="4"} 1\npatient_broken{store="5"} 0\n';
const BOTH = 'patient_broken{store="4"} 1\npatient_broken{store="5"} 1\n';

let server: ApiServer;
let exposition: Exposition;
let prometheus: PrometheusServer;
let running: RunningController;

/**
 * There is no cluster network here, so requests to the Service of Prometheus go to the running
 * process.
 */
const fetch: HttpFetch = (request, signal) =>
  httpFetch(request.port === 9090 ? { ...request, host: '127.0.0.1', port: prometheus.port } : request, signal);

beforeAll(async () => {
  exposition = await startExposition(HEALTHY);
  [server, prometheus] = await Promise.all([startApiServer(), startPrometheus({ patient: exposition.port })]);
  await applyChart(server, ADMISSION_KINDS);
  const asController = await clientAs(server, SYSTEM, 'oplab-controller');
  running = await startController(server, { client: asController, fetch, sweepEveryMs: 1000 });
}, 300_000);
afterAll(async () => {
  await running?.stop();
  await Promise.all([server?.stop(), prometheus?.close()]);
  exposition?.close();
});

/** A namespace with a Service for Prometheus in it. */
async function ward(namespace: string): Promise<Patient> {
  const patient = await new Patient(server.client, namespace).admit();
  const labels = { app: 'prometheus' };
  const container = { name: 'prometheus', image: 'prometheus' };
  await server.client.create(SERVICES, {
    metadata: { namespace, name: 'prometheus' },
    spec: { selector: labels, ports: [{ port: 9090 }] },
  });
  await server.client.create(PODS, {
    metadata: { namespace, name: 'prometheus-0', labels },
    spec: { containers: [container] },
  });
  // Neither a kubelet nor the endpoint controller runs here.
  await server.client.patch(
    PODS,
    { namespace, name: 'prometheus-0' },
    { status: { phase: 'Running', podIPs: [{ ip: '10.1.0.1' }], podIP: '10.1.0.1' } },
    { subresource: 'status' },
  );
  await server.client.create(ENDPOINT_SLICES, {
    metadata: { namespace, name: 'prometheus-1', labels: { 'kubernetes.io/service-name': 'prometheus' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 9090 }],
    endpoints: [{ addresses: ['10.1.0.1'], targetRef: { kind: 'Pod', namespace, name: 'prometheus-0' } }],
  });
  return patient;
}

class MonitorProbe {
  readonly ref: { readonly namespace: string; readonly name: string };
  constructor(namespace: string, name: string) {
    this.ref = { namespace, name };
  }

  async apply(spec: object, client: KubeClient = server.client): Promise<this> {
    await client.create(MONITORS, {
      metadata: this.ref,
      spec: {
        check: { prometheus: { service: 'prometheus', query: 'patient_broken > 0' } },
        intervalSeconds: 1,
        clearSeconds: 1,
        severity: 'critical',
        incident: { summary: 'store {{ $labels.store }} is broken' },
        ...spec,
      },
    });
    return this;
  }

  async read(): Promise<Monitor> {
    return monitorSchema.parse(await server.client.get(MONITORS, this.ref));
  }

  async until(what: string, holds: (monitor: Monitor) => boolean): Promise<Monitor> {
    let last: Monitor | undefined;
    return eventually(
      async () => {
        last = await this.read();
        return holds(last) ? last : undefined;
      },
      { what: `${this.ref.name}: ${what}` },
    ).catch((error: unknown) => {
      throw new Error(`${error}; status: ${JSON.stringify(last?.status, null, 1)}`);
    });
  }

  is(state: NonNullable<Monitor['status']>['state']): Promise<Monitor> {
    return this.until(`is ${state}`, ({ status }) => status?.state === state);
  }

  async incidents(): Promise<Incident[]> {
    const { items } = await server.client.list(INCIDENTS, { namespace: this.ref.namespace });
    return items
      .map((item) => incidentSchema.parse(item))
      .filter(({ spec }) => spec.source?.kind === 'Monitor' && spec.source.name === this.ref.name);
  }

  incidentCount(count: number): Promise<Incident[]> {
    return eventually(
      async () => {
        const found = await this.incidents();
        return found.length === count ? found : undefined;
      },
      { what: `${this.ref.name} has ${count} Incidents` },
    );
  }

  async reasons(): Promise<string[]> {
    const { items } = await server.client.list(EVENTS, { namespace: this.ref.namespace });
    return items.filter((event) => Object(event.regarding).name === this.ref.name).map((event) => String(event.reason));
  }
}

async function kubectl(...args: string[]): Promise<string> {
  const program = await ensureTool('kubectl');
  return (await promisify(execFile)(program, ['--kubeconfig', server.kubeconfig, ...args])).stdout;
}

const bindings = async (uid: string | undefined) =>
  (await server.client.list(ROLE_BINDINGS, { labelSelector: `${LABEL_MONITOR_UID}=${uid}` })).items;

/** An Incident is in progress in the namespace, so other Incidents there wait. */
async function occupy(patient: Patient): Promise<void> {
  const blocker = await patient.report('blocker', { severity: 'critical' });
  await blocker.podRuns(1);
}

describe('a Monitor', () => {
  it('opens one Incident, leaves it alone while nothing can be observed, and closes it when the alarm is over', async () => {
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const patient = await ward('watched');
    await occupy(patient);
    const watch = await new MonitorProbe('watched', 'broken').apply({});
    const healthy = await watch.is('Healthy');
    expect(findCondition(healthy.status?.conditions, 'Healthy')?.status).toBe('True');
    expect(await bindings(healthy.metadata.uid)).toHaveLength(1);

    exposition.set(BROKEN);
    const brokenAt = Date.now();
    const [incident] = await watch.incidentCount(1);
    const detected = Date.now() - brokenAt;
    console.log(`detected after ${detected} ms (scrape 1 s, look 1 s)`);
    expect(incident?.spec).toMatchObject({
      summary: 'store 4 is broken',
      severity: 'critical',
      alertLabels: { store: '4', job: 'patient' },
      verify: { checks: [{ name: 'monitor' }] },
    });
    const firing = await watch.until('names its Incident', ({ status }) => status?.alarms?.[0]?.incident !== undefined);
    expect(firing.status?.state).toBe('Firing');
    const probe = new IncidentProbe(server.client, 'watched', incident?.metadata.name ?? '');
    await probe.until('waits, and knows of its alarm', ({ status }) => {
      return status?.phase === 'Pending' && status.alarm?.state === 'Firing';
    });

    // The patient is healthy again, but this cannot be observed.
    await prometheus.kill();
    exposition.set(HEALTHY);
    const blind = await watch.is('Unknown');
    expect(findCondition(blind.status?.conditions, 'Observed')).toMatchObject({
      status: 'False',
      reason: 'Unreadable',
    });
    expect(findCondition(blind.status?.conditions, 'Healthy')?.status).toBe('Unknown');
    expect(blind.status?.alarms).toHaveLength(1);
    const before = await probe.read();
    await sleep(3000);
    expect((await watch.incidents()).map(({ metadata }) => metadata.resourceVersion)).toEqual([
      before.metadata.resourceVersion,
    ]);
    const failures = running.controller.monitors.failures().find(({ monitor }) => monitor.metadata.name === 'broken');
    expect(failures?.count).toBeGreaterThanOrEqual(2);
    expect((await watch.reasons()).filter((reason) => reason === 'ObservationUnreadable')).toHaveLength(1);

    await prometheus.start();
    await probe.seal();
    const ended = await probe.finished();
    expect(ended.status?.phase).toBe('Resolved');
    expect(findCondition(ended.status?.conditions, 'Succeeded')).toMatchObject({
      status: 'False',
      reason: 'AlarmCleared',
    });
    const cleared = await watch.is('Healthy');
    expect(cleared.status?.alarms ?? []).toEqual([]);
    expect(await watch.reasons()).toEqual(expect.arrayContaining(['Firing', 'Observed', 'Cleared']));

    await server.client.delete(MONITORS, watch.ref);
    await eventually(async () => (await bindings(healthy.metadata.uid)).length === 0, { what: 'its rights are gone' });
  });

  it('distinguishes alarms by labels, counts a returning alarm on the same Incident, and keeps Incidents on hold', async () => {
    exposition.set(BROKEN);
    await ward('grouped');
    const watch = await new MonitorProbe('grouped', 'by-store').apply({
      groupBy: ['store'],
      clearSeconds: 2,
      incident: { summary: 'store {{ $labels.store }}', suspend: true },
    });
    const [four] = await watch.incidentCount(1);
    exposition.set(BOTH);
    const both = await watch.incidentCount(2);
    expect(both.map(({ spec }) => spec.summary).sort()).toEqual(['store 4', 'store 5']);
    exposition.set('patient_broken{store="5"} 1\n');
    const clearing = (store: string) => (monitor: Monitor) =>
      monitor.status?.alarms?.find(({ labels }) => labels?.store === store)?.state === 'Clearing';
    await watch.until('store 4 clears', clearing('4'));
    exposition.set(BOTH);
    await watch.until('store 4 is back', ({ status }) => status?.alarms?.some(({ flaps }) => flaps === 1) ?? false);
    expect(await watch.incidents()).toHaveLength(2);
    const printed = await kubectl('get', 'monitors,incidents', '-n', 'grouped');
    expect(printed).toMatch(/NAME +STATE +SEVERITY +INCIDENT +SEEN +AGE/);
    expect(printed).toMatch(/monitor\.oplab\.dev\/by-store +Firing +critical +by-store-[0-9a-f]{8} +\d+s/);
    expect(printed).toMatch(/incident\.oplab\.dev\/by-store-[0-9a-f]{8} +Pending +critical/);
    exposition.set(HEALTHY);
    await watch.is('Healthy');
    const held = new IncidentProbe(server.client, 'grouped', four?.metadata.name ?? '');
    const status = (await held.until('alarm cleared', (one) => one.status?.alarm?.state === 'Cleared')).status;
    expect(status?.alarm?.flaps).toBe(1);
    expect(status?.phase).toBe('Pending');
    // After its release, there is nothing left to do.
    await held.spec({ suspend: false });
    await held.until('closes', (one) => findCondition(one.status?.conditions, 'Finished')?.reason === 'AlarmCleared');
  });

  it('reports what is wrong with it: a query that fails, a class that is missing, CEL that does not parse', async () => {
    await ward('wrong');
    const query = await new MonitorProbe('wrong', 'query').apply({
      check: { prometheus: { service: 'prometheus', query: 'sum(' } },
    });
    const missing = await new MonitorProbe('wrong', 'class').apply({
      incident: { summary: 's', agentClassName: 'nobody' },
    });
    const cel = await new MonitorProbe('wrong', 'cel').apply({
      check: { prometheus: { service: 'prometheus', query: 'up', cel: 'size(' } },
    });
    expect((await query.is('Unknown')).status?.message).toMatch(/rejects the query: bad_data/);
    const reason = (monitor: Monitor) => findCondition(monitor.status?.conditions, 'Accepted')?.reason;
    expect(reason(await missing.until('refused', (monitor) => reason(monitor) !== undefined))).toBe('ClassNotFound');
    expect(reason(await cel.until('refused', (monitor) => reason(monitor) !== undefined))).toBe('InvalidCheck');
    expect(await bindings((await cel.read()).metadata.uid)).toEqual([]);
  });
});

describe('the author of a Monitor', () => {
  const rbac = (plural: string, kind: string, namespaced: boolean): Resource => ({
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    plural,
    kind,
    namespaced,
  });

  it('needs the rights that the author of its Incidents would need, even for a change', async () => {
    const namespace = 'authored';
    await ward(namespace);
    await server.client.create(NAMESPACES, { metadata: { name: 'foreign' } });
    await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace, name: 'author' } });
    const author = await clientAs(server, namespace, 'author');
    const subjects = [{ kind: 'ServiceAccount', namespace, name: 'author' }];
    const grant = (kind: string, name: string, scope: 'here' | 'everywhere') => {
      const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind, name };
      const resource = scope === 'here' ? ROLE_BINDINGS : rbac('clusterrolebindings', 'ClusterRoleBinding', false);
      const metadata = { name: `author-${name}`, ...(scope === 'here' ? { namespace } : {}) };
      return server.client.create(resource, { metadata, roleRef, subjects });
    };
    await server.client.create(rbac('roles', 'Role', true), {
      metadata: { namespace, name: 'monitors-only' },
      rules: [{ apiGroups: ['oplab.dev'], resources: ['monitors'], verbs: ['create', 'patch', 'get'] }],
    });
    await grant('Role', 'monitors-only', 'here');
    const attempt = (name: string, spec: object = {}) =>
      new MonitorProbe(namespace, name).apply({ suspend: true, ...spec }, author).then(
        () => 'created',
        (error: unknown) => (isForbidden(error) ? error.message : Promise.reject(error)),
      );
    await eventually(async () => /may not use AgentClass default/.test(await attempt('m1')), {
      what: 'no use, no Monitor',
    });
    await grant('ClusterRole', 'oplab-use-default', 'everywhere');
    await eventually(async () => /may not target authored;/.test(await attempt('m2')), {
      what: 'no target, no Monitor',
    });
    await grant('ClusterRole', 'oplab-incident-author', 'here');
    await eventually(async () => (await attempt('m3')) === 'created', { what: 'with both, a Monitor' });
    expect(await attempt('m4', { incident: { summary: 's', targetNamespaces: ['foreign'] } })).toMatch(
      /may not target foreign;/,
    );
    const widen = { spec: { incident: { targetNamespaces: ['authored', 'foreign'] } } };
    await expect(author.patch(MONITORS, { namespace, name: 'm3' }, widen)).rejects.toThrow(/may not target foreign;/);
    await author.patch(MONITORS, { namespace, name: 'm3' }, { metadata: { labels: { seen: 'yes' } } });
  });
});
