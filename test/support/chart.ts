// The oplab chart as Helm renders it, and the parts of it that an API server without nodes accepts:
// RBAC objects, classes, admission policies.

import path from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { run } from '../../hack/child.ts';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { type KubeObject, kubeObject } from '../../src/kube/object.ts';
import { AGENT_CLASSES, type Resource, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../src/kube/resources.ts';
import { type ApiServer, CLUSTER_ROLES, SYSTEM } from './api-server.ts';

const resource = (group: string, plural: string, kind: string, namespaced: boolean): Resource => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
});

const KINDS: readonly Resource[] = [
  SERVICE_ACCOUNTS,
  CLUSTER_ROLES,
  resource('rbac.authorization.k8s.io', 'clusterrolebindings', 'ClusterRoleBinding', false),
  resource('rbac.authorization.k8s.io', 'roles', 'Role', true),
  ROLE_BINDINGS,
  AGENT_CLASSES,
  resource('scheduling.k8s.io', 'priorityclasses', 'PriorityClass', false),
];

/** The kinds with which the chart controls who may write what. */
export const ADMISSION_KINDS: readonly Resource[] = [
  resource('admissionregistration.k8s.io', 'validatingadmissionpolicies', 'ValidatingAdmissionPolicy', false),
  resource(
    'admissionregistration.k8s.io',
    'validatingadmissionpolicybindings',
    'ValidatingAdmissionPolicyBinding',
    false,
  ),
];

/** What the chart renders. @throws ChildFailed with Helm's message */
export async function renderChart(values: object = {}, ...flags: readonly string[]): Promise<KubeObject[]> {
  const chart = path.resolve(import.meta.dirname, '../../helm/oplab');
  const args = ['template', 'oplab', chart, '-n', SYSTEM, '-f', '-', ...flags];
  const { stdout } = await run(await ensureTool('helm'), args, { input: stringify(values) });
  return parseAllDocuments(stdout).flatMap((document) => kubeObject.safeParse(document.toJS()).data ?? []);
}

/** Applies the objects of these kinds that the chart renders. */
export async function applyChart(server: ApiServer, more: readonly Resource[] = []): Promise<void> {
  const kinds = [...KINDS, ...more];
  for (const object of await renderChart({}, '--no-hooks')) {
    const found = kinds.find((kind) => kind.kind === object.kind);
    if (found !== undefined) await server.client.apply(found, object, { fieldManager: 'test', force: true });
  }
}

/** A token of a service account. */
export async function createToken(server: ApiServer, namespace: string, name: string): Promise<string> {
  const answer = await server.client.createSubresource(SERVICE_ACCOUNTS, { namespace, name }, 'token', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3600 },
  });
  return String(Object(answer.status).token);
}

/** A client that acts as this service account. */
export async function clientAs(server: ApiServer, namespace: string, name: string): Promise<KubeClient> {
  return createKubeClient({ kubeconfig: server.kubeconfig, token: await createToken(server, namespace, name) });
}
