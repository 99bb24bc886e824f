// Objects that the controller builds for an Incident or a Monitor, and the prefix of their names.

import type { ObjectMeta } from '../api/meta.ts';
import type { NewKubeObject } from '../kube/client.ts';
import type { Resource } from '../kube/resources.ts';

/** An object and its resource. */
export interface BuiltObject {
  readonly resource: Resource;
  readonly object: NewKubeObject;
}

/** The prefix of the names of built objects: readable, and unique by UID. */
export function baseName(owner: { readonly metadata: Pick<ObjectMeta, 'name' | 'uid'> }): string {
  const readable = owner.metadata.name.replaceAll('.', '-').slice(0, 30).replace(/-+$/, '');
  return `${readable}-${owner.metadata.uid.slice(0, 8)}`;
}
