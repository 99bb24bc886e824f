// An object that the controller builds for an Incident or a Monitor, and the name that such objects share.

import type { ObjectMeta } from '../api/meta.ts';
import type { NewKubeObject } from '../kube/client.ts';
import type { Resource } from '../kube/resources.ts';

/** An object and the resource it belongs to. */
export interface BuiltObject {
  readonly resource: Resource;
  readonly object: NewKubeObject;
}

/** The prefix of all names that are built for an Incident or a Monitor: readable, and unique by UID. */
export function baseName(owner: { readonly metadata: Pick<ObjectMeta, 'name' | 'uid'> }): string {
  const readable = owner.metadata.name.replaceAll('.', '-').slice(0, 30).replace(/-+$/, '');
  return `${readable}-${owner.metadata.uid.slice(0, 8)}`;
}
