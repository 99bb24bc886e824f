// Deletes what was made for an Incident. Deleting is idempotent, so no record of it is needed.

import { LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import { NETWORK_POLICIES, PODS, type Resource, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../kube/resources.ts';

/**
 * Pods come first: without a pod an agent needs no rights, but without rights it still uses tokens.
 */
export const MADE_RESOURCES: readonly Resource[] = [PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS, NETWORK_POLICIES];

/**
 * Deletes objects with the labels of the Incident or of one attempt.
 * @throws KubeError; retry then
 */
export async function cleanUp(
  client: Pick<KubeClient, 'list' | 'delete'>,
  incident: Pick<Incident, 'metadata'>,
  agentsNamespace: string,
  attempt?: number,
): Promise<void> {
  const attemptSelector = attempt === undefined ? '' : `,${LABEL_ATTEMPT}=${attempt}`;
  const labelSelector = `${LABEL_INCIDENT_UID}=${incident.metadata.uid}${attemptSelector}`;
  await Promise.all(
    MADE_RESOURCES.map(async (resource) => {
      const { items } = await client.list(resource, {
        labelSelector,
        namespace: searchNamespace(resource, agentsNamespace),
      });
      await Promise.all(items.map((object) => remove(client, resource, object)));
    }),
  );
}

/** The namespace to list; undefined for role bindings, which may be in any target namespace. */
export function searchNamespace(resource: Resource, agentsNamespace: string): string | undefined {
  return resource === ROLE_BINDINGS ? undefined : agentsNamespace;
}

/** Deletes exactly this object. @returns whether it existed and was not already being deleted */
export async function remove(
  client: Pick<KubeClient, 'delete'>,
  resource: Resource,
  object: KubeObject,
): Promise<boolean> {
  const { name, namespace, uid, deletionTimestamp } = object.metadata;
  if (deletionTimestamp != null) return false;
  return client.delete(resource, { name, namespace }, { uid });
}
