// The resources that oplab reads and writes, and their paths at the API server.

import { GROUP, VERSION } from '../api/group.ts';

/** The names of a kind in the API. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const resource = (group: string, version: string, plural: string, kind: string, namespaced = true): Resource => ({
  group,
  version,
  plural,
  kind,
  namespaced,
});

export const INCIDENTS = resource(GROUP, VERSION, 'incidents', 'Incident');
export const AGENT_CLASSES = resource(GROUP, VERSION, 'agentclasses', 'AgentClass', false);
export const MONITORS = resource(GROUP, VERSION, 'monitors', 'Monitor');
export const PODS = resource('', 'v1', 'pods', 'Pod');
export const SERVICES = resource('', 'v1', 'services', 'Service');
export const SERVICE_ACCOUNTS = resource('', 'v1', 'serviceaccounts', 'ServiceAccount');
export const SECRETS = resource('', 'v1', 'secrets', 'Secret');
export const CONFIG_MAPS = resource('', 'v1', 'configmaps', 'ConfigMap');
export const EVENTS = resource('events.k8s.io', 'v1', 'events', 'Event');
export const PERSISTENT_VOLUME_CLAIMS = resource('', 'v1', 'persistentvolumeclaims', 'PersistentVolumeClaim');
export const STATEFUL_SETS = resource('apps', 'v1', 'statefulsets', 'StatefulSet');
export const DEPLOYMENTS = resource('apps', 'v1', 'deployments', 'Deployment');
export const AUTOSCALERS = resource('autoscaling', 'v2', 'horizontalpodautoscalers', 'HorizontalPodAutoscaler');
export const ENDPOINT_SLICES = resource('discovery.k8s.io', 'v1', 'endpointslices', 'EndpointSlice');
export const ROLE_BINDINGS = resource('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding');
export const NETWORK_POLICIES = resource('networking.k8s.io', 'v1', 'networkpolicies', 'NetworkPolicy');
export const LEASES = resource('coordination.k8s.io', 'v1', 'leases', 'Lease');
export const TOKEN_REVIEWS = resource('authentication.k8s.io', 'v1', 'tokenreviews', 'TokenReview', false);

/** The REST path of a collection, an object or a subresource. */
export function restPath(target: Resource, namespace?: string, name?: string, subresource?: string): string {
  const root = target.group === '' ? `/api/${target.version}` : `/apis/${target.group}/${target.version}`;
  const scope = target.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const object = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}${scope}/${target.plural}${object}${subresource === undefined ? '' : `/${subresource}`}`;
}
