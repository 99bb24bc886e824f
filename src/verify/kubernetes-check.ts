// The kubernetes check: one object of a target namespace, judged by CEL over `object`. Never a Secret.

import type { KubernetesCheck } from '../api/incident.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import type { Discovery } from './discovery.ts';
import type { Reading } from './http-check.ts';
import { CheckUnreadable } from './observation.ts';

/** @throws CheckUnreadable */
export async function readKubernetes(
  check: KubernetesCheck,
  namespace: string,
  kube: Pick<KubeClient, 'get' | 'read'>,
  discovery: Discovery,
): Promise<Reading> {
  const what = `${check.kind} ${namespace}/${check.name}`;
  let object: KubeObject;
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
    object = await kube.get(resource, { namespace, name: check.name });
  } catch (error) {
    if (error instanceof CheckUnreadable) throw error;
    if (isNotFound(error)) throw new CheckUnreadable(`${what} does not exist`);
    const why = error instanceof Error ? error.message : String(error);
    throw new CheckUnreadable(why, { forbidden: isForbidden(error), cause: error });
  }
  const { managedFields: _, ...metadata } = object.metadata;
  const shown = { ...object, metadata };
  return { variables: { object: { json: JSON.stringify(shown) } }, shown: { object: shown } };
}
