// Writes the controller's part of a status. A stale leader gets a conflict if the Incident changed.

import { CONTROLLER_MANAGER } from '../../api/group.ts';
import { type Incident, incident as incidentSchema } from '../../api/incident.ts';
import { applyStatus, unchanged } from '../../kube/apply-status.ts';
import type { KubeClient } from '../../kube/client.ts';
import { INCIDENTS } from '../../kube/resources.ts';
import type { ControllerStatus } from './status.ts';

/**
 * @returns the Incident as written.
 * @throws KubeError (isConflict when it was changed in between)
 */
export async function writeStatus(
  client: Pick<KubeClient, 'apply'>,
  incident: Incident,
  status: ControllerStatus,
): Promise<Incident> {
  const document = { metadata: unchanged(incident), status };
  return incidentSchema.parse(await applyStatus(client, INCIDENTS, document, CONTROLLER_MANAGER));
}
