// The orphan sweep: deletes objects with oplab's labels that no Incident needs any more.

import { LABEL_ATTEMPT, LABEL_INCIDENT_UID, LABEL_MANAGED_BY, MANAGED_BY } from '../../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../../api/incident.ts';
import { isTrue } from '../../api/meta.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { INCIDENTS } from '../../kube/resources.ts';
import { MADE_RESOURCES, remove, searchNamespace } from './clean-up.ts';

/** The reconciler has this long to clean up an ended attempt before the sweep does it, in ms. */
const CLEAN_UP_MS = 30_000;

/** Whether none of the Incidents needs this object. Pure. */
export function isOrphan(object: KubeObject, incidents: ReadonlyMap<string, Incident>, now: Date): boolean {
  const uid = object.metadata.labels?.[LABEL_INCIDENT_UID];
  if (uid === undefined) return false;
  const incident = incidents.get(uid);
  if (incident === undefined || isTrue(incident.status?.conditions, CONDITIONS.Finished)) return true;
  const number = object.metadata.labels?.[LABEL_ATTEMPT];
  if (number === undefined) return false;
  const endTime = incident.status?.attempts?.find((attempt) => String(attempt.number) === number)?.endTime;
  return endTime !== undefined && now.getTime() - Date.parse(endTime) >= CLEAN_UP_MS;
}

/** Sweeps once. @returns the number of deleted objects. @throws KubeError */
export async function sweepOrphans(
  client: Pick<KubeClient, 'list' | 'delete'>,
  agentsNamespace: string,
  log: Log,
): Promise<number> {
  const labelSelector = `${LABEL_MANAGED_BY}=${MANAGED_BY},${LABEL_INCIDENT_UID}`;
  const made = await Promise.all(
    MADE_RESOURCES.map(async (resource) => {
      const { items } = await client.list(resource, {
        labelSelector,
        namespace: searchNamespace(resource, agentsNamespace),
      });
      return items.map((object) => ({ resource, object }));
    }),
  );
  const objects = made.flat();
  if (objects.length === 0) return 0;
  // Listed after the objects: an Incident always exists before the objects made for it.
  const incidents = new Map<string, Incident>();
  for (const raw of (await client.list(INCIDENTS)).items) {
    const parsed = incidentSchema.safeParse(raw);
    // An Incident that cannot be parsed may still need its objects, so nothing is swept.
    if (!parsed.success) return 0;
    incidents.set(parsed.data.metadata.uid, parsed.data);
  }
  const orphans = objects.filter(({ object }) => isOrphan(object, incidents, new Date()));
  let removed = 0;
  for (const { resource, object } of orphans) {
    // The reconciler has deleted it since it was listed, so it was not an orphan.
    if (!(await remove(client, resource, object))) continue;
    const { namespace, name } = object.metadata;
    log.warn({ kind: resource.kind, namespace, name }, 'orphan removed');
    removed += 1;
  }
  return removed;
}
