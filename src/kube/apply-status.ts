// Writes one field manager's part of an object's status by server-side apply.

import type { KubeClient, KubeObject } from './client.ts';
import type { NewKubeObject } from './object.ts';
import type { Resource } from './resources.ts';

/**
 * Applies the status in the document; fields that the manager owned and leaves out are removed. A uid and a
 * resourceVersion in its metadata are preconditions.
 * @returns the object as it is now. @throws KubeError (isConflict when a precondition does not hold)
 */
export function applyStatus(
  client: Pick<KubeClient, 'apply'>,
  resource: Resource,
  document: NewKubeObject,
  fieldManager: string,
): Promise<KubeObject> {
  return client.apply(resource, document, { fieldManager, force: true, subresource: 'status' });
}

/** The name of an object as it was read: it is written only if it is still the same, in the same version. */
export function unchanged({ metadata }: Pick<KubeObject, 'metadata'>): NonNullable<NewKubeObject['metadata']> {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { name, namespace, uid, resourceVersion };
}
