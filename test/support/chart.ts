// The parts of the oplab chart that an API server without nodes accepts: RBAC objects, classes,
// admission policies.

import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { kubeObject } from '../../src/kube/object.ts';
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

/** Applies the objects of these kinds that the chart renders. */
export async function applyChart(server: ApiServer, more: readonly Resource[] = []): Promise<void> {
  const chart = path.resolve(import.meta.dirname, '../../helm/oplab');
  const helm = await ensureTool('helm');
  const { stdout } = await promisify(execFile)(helm, ['template', 'oplab', chart, '-n', SYSTEM, '--no-hooks'], {
    maxBuffer: 16 * 1024 * 1024,
  });
  const kinds = [...KINDS, ...more];
  for (const document of parseAllDocuments(stdout)) {
    const parsed = kubeObject.safeParse(document.toJS());
    const found = kinds.find((kind) => kind.kind === parsed.data?.kind);
    if (parsed.data === undefined || found === undefined) continue;
    await server.client.apply(found, parsed.data, { fieldManager: 'test', force: true });
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
