// The kubernetes check: one object or a list of objects in a target namespace. Never a Secret.

import type { KubernetesCheck } from '../api/check.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { summarizeObject } from './brief.ts';
import type { Discovery } from './discovery.ts';
import type { Reading } from './http-check.ts';
import { CheckUnreadable } from './observation.ts';

/** @throws CheckUnreadable */
export async function readKubernetes(
  check: KubernetesCheck,
  namespace: string,
  kube: Pick<KubeClient, 'get' | 'list' | 'read'>,
  discovery: Discovery,
): Promise<Reading> {
  const { name, labelSelector } = check;
  const what = name === undefined ? `${check.kind} in ${namespace}` : `${check.kind} ${namespace}/${name}`;
  try {
    const resource = await discovery.find(kube, check.apiVersion, check.kind);
    if (resource === undefined) {
      throw new CheckUnreadable(`the API server has no kind ${check.kind} in ${check.apiVersion}`);
    }
    // The resource decides, not the kind in the check, because a kind can have another spelling.
    if (resource.group === '' && resource.plural === 'secrets')
      throw new CheckUnreadable('a check may not read Secrets');
    if (!resource.namespaced) {
      throw new CheckUnreadable(`${check.kind} is cluster-scoped; a check can only read objects in target namespaces`);
    }
    if (name === undefined) {
      const { items } = await kube.list(resource, {
        namespace,
        ...(labelSelector === undefined ? {} : { labelSelector }),
      });
      const objects = items.map(withoutManagedFields);
      return {
        variables: { objects: { json: JSON.stringify(objects) } },
        shown: { objects: objects.map(summarizeObject) },
      };
    }
    const object = withoutManagedFields(await kube.get(resource, { namespace, name }));
    return { variables: { object: { json: JSON.stringify(object) } }, shown: { object } };
  } catch (error) {
    if (error instanceof CheckUnreadable) throw error;
    if (isNotFound(error)) throw new CheckUnreadable(`${what} does not exist`);
    const why = error instanceof Error ? error.message : String(error);
    throw new CheckUnreadable(why, { forbidden: isForbidden(error), cause: error });
  }
}

/** Managed fields say nothing about the state of an object, and are most of its text. */
function withoutManagedFields(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
