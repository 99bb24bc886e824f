// Writes one field manager's part of an object's status with server-side apply.

import type { KubeClient, KubeObject } from './client.ts';
import type { NewKubeObject } from './object.ts';
import type { Resource } from './resources.ts';

/**
 * Applies the status in the document. Fields that the manager owned and now leaves out are removed.
 * A uid and a resourceVersion in the metadata are preconditions.
 * @returns the object after the write
 * @throws KubeError (isConflict if a precondition does not hold)
 */
export function applyStatus(
  client: Pick<KubeClient, 'apply'>,
  resource: Resource,
  document: NewKubeObject,
  fieldManager: string,
): Promise<KubeObject> {
  return client.apply(resource, document, { fieldManager, force: true, subresource: 'status' });
}

/**
 * The metadata with which a write succeeds only if the object has not changed since it was read.
 */
export function unchanged({ metadata }: Pick<KubeObject, 'metadata'>): NonNullable<NewKubeObject['metadata']> {
  const { name, namespace, uid, resourceVersion } = metadata;
  return { name, namespace, uid, resourceVersion };
}
