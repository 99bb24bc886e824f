// The kubernetes check: one object of a target namespace, or a list of them, judged by CEL. Never a Secret.

import type { KubernetesCheck } from '../api/check.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { briefly } from './brief.ts';
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
      throw new CheckUnreadable(`the API server knows no kind ${check.kind} in ${check.apiVersion}`);
    }
    // By the resource, not by the word in the check: another spelling of the kind must not open it.
    if (resource.group === '' && resource.plural === 'secrets')
      throw new CheckUnreadable('a check may not read Secrets');
    if (!resource.namespaced) {
      throw new CheckUnreadable(`${check.kind} is cluster-scoped; a check reads only objects of the target namespaces`);
    }
    if (name === undefined) {
      const { items } = await kube.list(resource, {
        namespace,
        ...(labelSelector === undefined ? {} : { labelSelector }),
      });
      const objects = items.map(withoutManagedFields);
      return {
        variables: { objects: { json: JSON.stringify(objects) } },
        shown: { objects: objects.map(briefly) },
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

/** Who set which field says nothing about the patient, and is most of the text. */
function withoutManagedFields(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
