// The orphan sweep: whatever carries our labels without an Incident that still needs it goes away.

import { LABEL_ATTEMPT, LABEL_INCIDENT_UID, LABEL_MANAGED_BY, MANAGED_BY } from '../../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../../api/incident.ts';
import { isTrue } from '../../api/meta.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { INCIDENTS } from '../../kube/resources.ts';
import { homeOf, MADE_RESOURCES, remove } from './clean-up.ts';

/** An attempt that has just ended is being cleaned up by the reconciler; after this it should have been, in ms. */
const CLEAN_UP_MS = 30_000;

/** Whether an object of ours is needed by none of the Incidents. Pure. */
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

/** Sweeps once; returns how many objects were removed. @throws KubeError */
export async function sweepOrphans(
  client: Pick<KubeClient, 'list' | 'delete'>,
  agentsNamespace: string,
  log: Log,
): Promise<number> {
  const labelSelector = `${LABEL_MANAGED_BY}=${MANAGED_BY},${LABEL_INCIDENT_UID}`;
  const made = await Promise.all(
    MADE_RESOURCES.map(async (resource) => {
      const { items } = await client.list(resource, { labelSelector, namespace: homeOf(resource, agentsNamespace) });
      return items.map((object) => ({ resource, object }));
    }),
  );
  const objects = made.flat();
  if (objects.length === 0) return 0;
  // Listed after the objects: an Incident is always there before what is made for it.
  const incidents = new Map<string, Incident>();
  for (const raw of (await client.list(INCIDENTS)).items) {
    const parsed = incidentSchema.safeParse(raw);
    // One that cannot be read may need its objects: an object is only an orphan for sure.
    if (!parsed.success) return 0;
    incidents.set(parsed.data.metadata.uid, parsed.data);
  }
  const orphans = objects.filter(({ object }) => isOrphan(object, incidents, new Date()));
  let removed = 0;
  for (const { resource, object } of orphans) {
    // What the reconciler took away since we listed it was no orphan.
    if (!(await remove(client, resource, object))) continue;
    const { namespace, name } = object.metadata;
    log.warn({ kind: resource.kind, namespace, name }, 'orphan removed');
    removed += 1;
  }
  return removed;
}
