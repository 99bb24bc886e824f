// The controller with exactly the rights that the chart grants, over the whole life of an Incident:
// they are sufficient, and not excessive.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { recordAuditEvent } from '../../src/gateway/audit-event.ts';
import { auditAnchor } from '../../src/gateway/protocol.ts';
import { AnchorConfigMap } from '../../src/gateway/published-anchor.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { isConflict, isForbidden } from '../../src/kube/errors.ts';
import {
  CONFIG_MAPS,
  EVENTS,
  INCIDENTS,
  PODS,
  type Resource,
  ROLE_BINDINGS,
  SECRETS,
  SERVICE_ACCOUNTS,
} from '../../src/kube/resources.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { AGENTS, type ApiServer, CLUSTER_ROLES, SYSTEM, startApiServer } from '../support/api-server.ts';
import { applyChart, clientAs } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { Patient } from '../support/incident-probe.ts';
import { startController } from '../support/running-controller.ts';

const tripwires = {
  key: 'a key that is long enough for a test',
  secretName: 'cloud-admin-credentials',
  host: 'vault.oplab-system.svc',
};

let server: ApiServer;
let asController: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  await applyChart(server);
  asController = await clientAs(server, SYSTEM, 'oplab-controller');
}, 300_000);
afterAll(() => server?.stop());

describe('the controller with the rights of the chart', () => {
  it('takes an Incident from apply to Resolved, and another one through deletion, without a single refusal', async () => {
    const running = await startController(server, { client: asController, sweepEveryMs: 500, tripwires });
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const sick = await new Patient(server.client, 'least-privilege').admit();
    const ref = { namespace: sick.namespace, name: tripwires.secretName };
    const canary = () => server.client.get(SECRETS, ref).catch(() => undefined);
    const incident = await sick.report('broken');
    await incident.podRuns(1);
    expect(await canary()).toMatchObject({ type: 'Opaque', data: { AWS_ACCESS_KEY_ID: expect.any(String) } });
    const baseline = (await incident.read()).status?.verification?.[0]?.baseline;
    expect(baseline).toBe('object.data.state = "bad"');
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    await incident.seal();
    expect((await incident.finished()).status?.phase).toBe('Resolved');
    expect(await canary()).toBeUndefined();
    const other = await sick.report('deleted');
    await other.podRuns(1);
    await other.delete();
    await other.client.get(CONFIG_MAPS, { namespace: sick.namespace, name: 'patient' });
    await expect.poll(() => other.exists(), { timeout: 10_000 }).toBe(false);
    expect(await canary()).toBeUndefined();
    await running.stop();
    expect(running.log.lines.filter((line) => line.startsWith('warn') || line.startsWith('error'))).toEqual([]);
  });

  it('leaves a Secret alone that has the name of the canary, and marks it as none', async () => {
    const running = await startController(server, { client: asController, tripwires });
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const sick = await new Patient(server.client, 'has-a-namesake').admit();
    const ref = { namespace: sick.namespace, name: tripwires.secretName };
    const data = { password: Buffer.from('real').toString('base64') };
    await server.client.create(SECRETS, { metadata: ref, data });
    const incident = await sick.report('broken');
    await incident.podRuns(1);
    const pods = await server.client.list(PODS, { namespace: AGENTS });
    expect(pods.items.map(({ metadata }) => metadata.annotations?.['oplab.dev/canary-namespaces'])).toContain('');
    await incident.delete();
    await expect.poll(() => incident.exists(), { timeout: 10_000 }).toBe(false);
    expect(await server.client.get(SECRETS, ref)).toMatchObject({ data });
    await running.stop();
  });

  it('may write only Secrets of the canary’s name', async () => {
    const refused = (call: Promise<unknown>) => call.then(() => false, isForbidden);
    const apply = (name: string) =>
      asController.apply(SECRETS, { metadata: { namespace: 'default', name } }, { fieldManager: 'test' });
    expect(await refused(apply('other'))).toBe(true);
    expect(await refused(asController.create(SECRETS, { metadata: { namespace: 'default', name: 'other' } }))).toBe(
      true,
    );
    expect(await refused(apply(tripwires.secretName))).toBe(false);
    expect(await refused(asController.get(SECRETS, { namespace: 'default', name: 'other' }))).toBe(true);
  });

  it('may not read Secrets or ConfigMaps, create pods elsewhere, or bind a role that the chart does not list', async () => {
    const refused = (call: Promise<unknown>) => call.then(() => false, isForbidden);
    expect(await refused(asController.list(SECRETS, { namespace: 'least-privilege' }))).toBe(true);
    expect(await refused(asController.list(CONFIG_MAPS, { namespace: 'least-privilege' }))).toBe(true);
    const spec = { containers: [{ name: 'c', image: 'i' }] };
    expect(await refused(asController.create(PODS, { metadata: { namespace: 'default', name: 'p' }, spec }))).toBe(
      true,
    );
    const binding = {
      metadata: { namespace: 'default', name: 'b' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', name: 'x', namespace: AGENTS }],
    };
    expect(await refused(asController.create(ROLE_BINDINGS, binding))).toBe(true);
  });
});

describe('who may read Incidents', () => {
  it('are those with oplab-view, and nobody because of view, edit or admin', async () => {
    const { items } = await server.client.list(CLUSTER_ROLES);
    // The controller of Kubernetes that fills view, edit and admin picks the roles by these labels.
    const aggregated = items.filter(({ metadata }) =>
      ['view', 'edit', 'admin'].some(
        (to) => metadata.labels?.[`rbac.authorization.k8s.io/aggregate-to-${to}`] === 'true',
      ),
    );
    expect(aggregated.length).toBeGreaterThan(0);
    expect(aggregated.filter(({ rules }) => JSON.stringify(rules).includes('oplab.dev'))).toEqual([]);

    await server.client.create(SERVICE_ACCOUNTS, { metadata: { namespace: 'default', name: 'reader' } });
    const asReader = await clientAs(server, 'default', 'reader');
    const mayList = (resource: Resource) =>
      asReader.list(resource, { namespace: 'default' }).then(
        () => true,
        (error: unknown) => !isForbidden(error),
      );
    const bind = (clusterRole: string) =>
      server.client.create(ROLE_BINDINGS, {
        metadata: { namespace: 'default', name: clusterRole.replaceAll(':', '-') },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: clusterRole },
        subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: 'default' }],
      });
    await bind('system:aggregate-to-view');
    await eventually(() => mayList(CONFIG_MAPS));
    expect(await mayList(INCIDENTS)).toBe(false);
    await bind('oplab-view');
    await eventually(() => mayList(INCIDENTS));

    // The command in docs/install.md.
    const kubectl = await ensureTool('kubectl');
    const run = (...args: string[]) => promisify(execFile)(kubectl, ['--kubeconfig', server.kubeconfig, ...args]);
    await run('create', 'clusterrolebinding', 'sre-view-oplab', '--clusterrole=oplab-view', '--group=sre');
    await eventually(() => run('auth', 'can-i', 'list', 'incidents', '-A', '--as=somebody', '--as-group=sre'));
  });
});

describe('the gateway with the rights of the chart', () => {
  it('may fill in the ConfigMap of its signed log, and no other one, nor delete or create any', async () => {
    const asGateway = await clientAs(server, SYSTEM, 'oplab-gateway');
    for (const name of [auditAnchor.name, 'another']) {
      await server.client.create(CONFIG_MAPS, { metadata: { namespace: SYSTEM, name } });
    }
    const configMap = new AnchorConfigMap(asGateway, SYSTEM);
    const found = await configMap.read();
    const notes = { checkpoint: 'c', heads: 'h' };
    await configMap.write(notes, 'key', found?.resourceVersion ?? '');
    expect(await configMap.read()).toMatchObject({ notes, publicKey: 'key' });
    await expect(configMap.write(notes, 'key', found?.resourceVersion ?? '')).rejects.toSatisfy(isConflict);
    for (const call of [
      () => asGateway.get(CONFIG_MAPS, { namespace: SYSTEM, name: 'another' }),
      () => asGateway.patch(CONFIG_MAPS, { namespace: SYSTEM, name: 'another' }, { data: { a: 'b' } }),
      () => asGateway.list(CONFIG_MAPS, { namespace: SYSTEM }),
      () => asGateway.create(CONFIG_MAPS, { metadata: { namespace: SYSTEM, name: 'new' } }),
      () => asGateway.delete(CONFIG_MAPS, { namespace: SYSTEM, name: auditAnchor.name }),
    ]) {
      await expect(call()).rejects.toSatisfy(isForbidden);
    }
  });

  it('may record an event about a broken log, but not list events', async () => {
    const asGateway = await clientAs(server, SYSTEM, 'oplab-gateway');
    const warnings: unknown[] = [];
    const logger = createLogger('gateway', { stream: { write: (line) => void warnings.push(line) } });
    recordAuditEvent(
      asGateway,
      logger,
      { metadata: { name: 'down', namespace: 'default', uid: 'u' } },
      'AuditBroken',
      'set back',
    );
    const recorded = await eventually(async () => {
      expect(warnings).toEqual([]);
      const { items } = await server.client.list(EVENTS, { namespace: 'default' });
      return items.find(({ metadata }) => metadata.name.startsWith('down-'));
    });
    expect(recorded).toMatchObject({ reason: 'AuditBroken', type: 'Warning', note: 'set back' });
    await expect(asGateway.list(EVENTS, { namespace: 'default' })).rejects.toSatisfy(isForbidden);
  });
});
