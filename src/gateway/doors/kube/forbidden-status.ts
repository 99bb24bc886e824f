// The API server's refusal of a request that no role allows, in its own words. Pure.
//
// The texts are those of `responsewriters.Forbidden` and `errors.NewForbidden` of Kubernetes; a test
// compares them with a real API server.

import { type KubeRequest, METHOD_VERBS } from './classify.ts';

/** A metav1.Status. */
export type KubeStatus = Readonly<Record<string, unknown>>;

interface ResourceAttributes {
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** What a request needs the right to do, as in the spec of a SelfSubjectAccessReview. */
export type Access =
  | { readonly type: 'resource'; readonly attributes: ResourceAttributes }
  | { readonly type: 'path'; readonly attributes: { readonly verb: string; readonly path: string } };

/** The right that the API server asks its authorizers about. */
export function describeAccess(method: string, wanted: KubeRequest): Access {
  const { resource, group, version, subresource, name, path } = wanted;
  if (resource === undefined) return { type: 'path', attributes: { verb: method.toLowerCase(), path } };
  const verb = wanted.verb === 'connect' ? (METHOD_VERBS[method] ?? 'create') : wanted.verb;
  // A namespace is in itself.
  const namespace = group === '' && resource === 'namespaces' ? name : wanted.namespace;
  return {
    type: 'resource',
    attributes: {
      verb,
      group,
      version,
      resource,
      ...(subresource === undefined ? {} : { subresource }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
    },
  };
}

/** The Status of a refusal. @param reason as an authorizer gave it, or empty */
export function forbidden(user: string, access: Access, reason: string): KubeStatus {
  const why = `${describeRefusal(user, access)}${reason === '' ? '' : `: ${reason}`}`;
  if (access.type === 'path') return buildStatus(`forbidden: ${why}`, {});
  const { group, resource, name } = access.attributes;
  const qualified = group === '' ? resource : `${resource}.${group}`;
  const object = name === undefined ? qualified : `${qualified} ${JSON.stringify(name)}`;
  return buildStatus(`${object} is forbidden: ${why}`, {
    ...(name === undefined ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind: resource,
  });
}

function describeRefusal(user: string, access: Access): string {
  const cannot = `User ${JSON.stringify(user)} cannot ${access.attributes.verb}`;
  if (access.type === 'path') return `${cannot} path ${JSON.stringify(access.attributes.path)}`;
  const { group, resource, subresource, namespace } = access.attributes;
  const path = subresource === undefined ? resource : `${resource}/${subresource}`;
  const where = namespace === undefined ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  return `${cannot} resource ${JSON.stringify(path)} in API group ${JSON.stringify(group)} ${where}`;
}

function buildStatus(message: string, details: object): KubeStatus {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason: 'Forbidden',
    details,
    code: 403,
  };
}
