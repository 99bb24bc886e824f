// The controller with exactly the rights that the chart gives it, over a whole life: enough, and not more.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { isForbidden } from '../../src/kube/errors.ts';
import { kubeObject } from '../../src/kube/object.ts';
import {
  AGENT_CLASSES,
  CONFIG_MAPS,
  PODS,
  type Resource,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
} from '../../src/kube/resources.ts';
import { AGENTS, type ApiServer, CLUSTER_ROLES, SYSTEM, startApiServer } from '../support/api-server.ts';
import { Patient } from '../support/incident-probe.ts';
import { startController } from '../support/running-controller.ts';

const rbac = (plural: string, kind: string, namespaced: boolean): Resource => ({
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural,
  kind,
  namespaced,
});
/** The kinds of the chart that matter here. */
const KINDS: readonly Resource[] = [
  SERVICE_ACCOUNTS,
  CLUSTER_ROLES,
  rbac('clusterrolebindings', 'ClusterRoleBinding', false),
  rbac('roles', 'Role', true),
  ROLE_BINDINGS,
  AGENT_CLASSES,
  { group: 'scheduling.k8s.io', version: 'v1', plural: 'priorityclasses', kind: 'PriorityClass', namespaced: false },
];

let server: ApiServer;
let asController: KubeClient;

beforeAll(async () => {
  server = await startApiServer();
  const chart = path.resolve(import.meta.dirname, '../../helm/oplab');
  const helm = await ensureTool('helm');
  const { stdout } = await promisify(execFile)(helm, ['template', 'oplab', chart, '-n', SYSTEM, '--no-hooks'], {
    maxBuffer: 16 * 1024 * 1024,
  });
  for (const document of parseAllDocuments(stdout)) {
    const parsed = kubeObject.safeParse(document.toJS());
    const resource = KINDS.find((kind) => kind.kind === parsed.data?.kind);
    if (parsed.data === undefined || resource === undefined) continue;
    await server.client.apply(resource, parsed.data, { fieldManager: 'test', force: true });
  }
  const account = { namespace: SYSTEM, name: 'oplab-controller' };
  const answer = await server.client.createSubresource(SERVICE_ACCOUNTS, account, 'token', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  });
  asController = createKubeClient({ kubeconfig: server.kubeconfig, token: String(Object(answer.status).token) });
}, 300_000);
afterAll(() => server?.stop());

describe('the controller with the rights of the chart', () => {
  it('carries an Incident from apply to Resolved, and another through deletion, without being refused once', async () => {
    const running = await startController(server, { client: asController, sweepEveryMs: 500 });
    onTestFailed(() => console.log(running.log.lines.join('\n')));
    const sick = await new Patient(server.client, 'least-privilege').admit();
    const incident = await sick.report('broken');
    await incident.podRuns(1);
    const baseline = (await incident.read()).status?.verification?.[0]?.baseline;
    expect(baseline).toBe('object.data.state = "bad"');
    await sick.become('good');
    await incident.claim(1, 'Fixed');
    await incident.seal();
    expect((await incident.finished()).status?.phase).toBe('Resolved');
    const other = await sick.report('deleted');
    await other.podRuns(1);
    await other.delete();
    await other.client.get(CONFIG_MAPS, { namespace: sick.namespace, name: 'patient' });
    await expect.poll(() => other.exists(), { timeout: 10_000 }).toBe(false);
    await running.stop();
    expect(running.log.lines.filter((line) => line.startsWith('warn') || line.startsWith('error'))).toEqual([]);
  });

  it('may not read Secrets or ConfigMaps, make pods elsewhere, or bind a role that the chart does not list', async () => {
    const refused = (call: Promise<unknown>) => call.then(() => false, isForbidden);
    const secrets: Resource = { group: '', version: 'v1', plural: 'secrets', kind: 'Secret', namespaced: true };
    expect(await refused(asController.list(secrets, { namespace: 'least-privilege' }))).toBe(true);
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
