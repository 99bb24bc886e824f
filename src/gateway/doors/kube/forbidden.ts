// What an agent may not write whatever its role allows: the kube door says so before the API server
// does, and for the admission policies themselves, about which the API server asks no policy.
//
// The same list as in helm/oplab/templates/agent-admission.yaml; a test compares them.

import type { KubeRequest } from './classify.ts';

/** API groups of rights, certificates, admission and kinds, and oplab's own. */
export const FORBIDDEN_GROUPS: readonly string[] = [
  'rbac.authorization.k8s.io',
  'certificates.k8s.io',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'apiregistration.k8s.io',
  'oplab.dev',
];
/** Resources of the core group, each with its subresources. */
export const FORBIDDEN_RESOURCES: readonly string[] = ['nodes', 'persistentvolumes', 'namespaces'];
/** Resources of the group `apps`. A StatefulSet makes pods of its revision, which no policy sees. */
export const FORBIDDEN_APPS: readonly string[] = ['controllerrevisions'];

/** Why this write is refused; undefined where it is the role's to decide. */
export function findForbidden(request: KubeRequest): string | undefined {
  const { kind, group, resource, subresource } = request;
  if (kind !== 'write' || resource === undefined) return undefined;
  const isForbidden =
    group === ''
      ? FORBIDDEN_RESOURCES.includes(resource) || (resource === 'serviceaccounts' && subresource === 'token')
      : FORBIDDEN_GROUPS.includes(group) || (group === 'apps' && FORBIDDEN_APPS.includes(resource));
  if (!isForbidden) return undefined;
  const path = subresource === undefined ? resource : `${resource}/${subresource}`;
  const name = group === '' ? path : `${path}.${group}`;
  return `an agent may not write ${name}, whatever its role allows: conclude that a person has to make this change`;
}
