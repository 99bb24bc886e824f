// Takes away what was made for an Incident. Deleting twice does no harm, so nobody has to remember whether it was done.

import { LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import { NETWORK_POLICIES, PODS, type Resource, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../kube/resources.ts';

/** Pods come first: an agent without a pod needs no rights, one without rights still burns tokens. */
export const MADE_RESOURCES: readonly Resource[] = [PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS, NETWORK_POLICIES];

/** Deletes what carries the labels of the Incident, or of one of its attempts. @throws KubeError; then try again */
export async function cleanUp(
  client: Pick<KubeClient, 'list' | 'delete'>,
  incident: Pick<Incident, 'metadata'>,
  agentsNamespace: string,
  attempt?: number,
): Promise<void> {
  const ofAttempt = attempt === undefined ? '' : `,${LABEL_ATTEMPT}=${attempt}`;
  const labelSelector = `${LABEL_INCIDENT_UID}=${incident.metadata.uid}${ofAttempt}`;
  await Promise.all(
    MADE_RESOURCES.map(async (resource) => {
      const { items } = await client.list(resource, { labelSelector, namespace: homeOf(resource, agentsNamespace) });
      await Promise.all(items.map((object) => remove(client, resource, object)));
    }),
  );
}

/** Rights are bound in the targets; everything else lives with the agents. */
export function homeOf(resource: Resource, agentsNamespace: string): string | undefined {
  return resource === ROLE_BINDINGS ? undefined : agentsNamespace;
}

/** Deletes this very object. @returns whether it was there and not on its way out */
export async function remove(
  client: Pick<KubeClient, 'delete'>,
  resource: Resource,
  object: KubeObject,
): Promise<boolean> {
  const { name, namespace, uid, deletionTimestamp } = object.metadata;
  if (deletionTimestamp != null) return false;
  return client.delete(resource, { name, namespace }, { uid });
}
