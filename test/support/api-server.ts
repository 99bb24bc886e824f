// A real API server with oplab's kinds, for tests. It has neither nodes nor a gateway: the test
// plays both.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { customResourceDefinitions } from '../../src/api/crd.ts';
import { LABEL_INCIDENT_NAMESPACE } from '../../src/api/group.ts';
import { createKubeClient, type KubeClient, type NewKubeObject } from '../../src/kube/client.ts';
import { kubeObject } from '../../src/kube/object.ts';
import { AGENT_CLASSES, INCIDENTS, type Resource } from '../../src/kube/resources.ts';
import { startControlPlane } from './control-plane.ts';
import { eventually } from './eventually.ts';
import { NAMESPACES } from './namespaces.ts';

export const AGENTS = 'oplab-agents';
export const SYSTEM = 'oplab-system';

const CRDS: Resource = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
export const CLUSTER_ROLES: Resource = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'clusterroles',
  kind: 'ClusterRole',
  namespaced: false,
};

export interface ApiServer {
  readonly client: KubeClient;
  readonly kubeconfig: string;
  stop(): Promise<void>;
}

const CONTROLLERS = 'namespace-controller,garbage-collector-controller,serviceaccount-controller';

/** Starts the control plane and installs kinds, namespaces, roles and the class `default`. */
export async function startApiServer(): Promise<ApiServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-api-'));
  const plane = await startControlPlane({ dir, controllers: CONTROLLERS });
  const client = createKubeClient({ kubeconfig: plane.kubeconfig });
  await installKinds(client);
  for (const name of [AGENTS, SYSTEM]) await client.create(NAMESPACES, { metadata: { name } });
  const read = { apiGroups: [''], resources: ['configmaps', 'pods', 'services'], verbs: ['get', 'list', 'watch'] };
  const stands = { apiGroups: [''], resources: ['persistentvolumeclaims'], verbs: ['list'] };
  const workloads = { apiGroups: ['apps'], resources: ['statefulsets', 'deployments'], verbs: ['list'] };
  const slices = { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list'] };
  const write = { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'update', 'patch'] };
  await client.create(CLUSTER_ROLES, { metadata: { name: 'test-read' }, rules: [read, stands, workloads, slices] });
  await client.create(CLUSTER_ROLES, { metadata: { name: 'test-operate' }, rules: [write] });
  await client.create(AGENT_CLASSES, agentClass('default'));
  return {
    client,
    kubeconfig: plane.kubeconfig,
    async stop() {
      await plane.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Installs the CustomResourceDefinitions and waits until they are served. */
export async function installKinds(client: KubeClient): Promise<void> {
  for (const definition of Object.values(customResourceDefinitions())) {
    await client.apply(CRDS, kubeObject.parse(definition), { fieldManager: 'test', force: true });
  }
  await eventually(async () => {
    await client.list(INCIDENTS);
    await client.list(AGENT_CLASSES);
    return true;
  });
}

export async function installSystemNamespace(client: KubeClient, name: string): Promise<void> {
  await client.create(NAMESPACES, { metadata: { name } });
}

export function agentClass(name: string, spec: object = {}): NewKubeObject {
  return {
    metadata: { name },
    spec: {
      images: { agent: 'oplab.test/agent:1', sandbox: 'oplab.test/sandbox:1' },
      repairRoles: [{ name: 'test-operate' }],
      readRoles: [{ name: 'test-read' }],
      ...spec,
    },
  };
}

/** Objects that oplab has created for any Incident of a namespace, as "Kind namespace/name". */
export async function madeFor(client: KubeClient, resources: readonly Resource[], incidentNamespace: string) {
  const labelSelector = `${LABEL_INCIDENT_NAMESPACE}=${incidentNamespace}`;
  const lists = await Promise.all(
    resources.map(async (resource) =>
      (await client.list(resource, { labelSelector })).items.map((item) => ({ resource, item })),
    ),
  );
  return lists.flat().map(({ resource, item }) => `${resource.kind} ${item.metadata.namespace}/${item.metadata.name}`);
}
