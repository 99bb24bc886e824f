// Records an event on an Incident: its work cannot be recorded in the audit log, or its agent was
// started again.

import { API_VERSION } from '../api/group.ts';
import type { Incident } from '../api/incident.ts';
import { truncate } from '../api/truncate.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { EVENTS } from '../kube/resources.ts';
import type { Logger } from '../observability/logger.ts';

/** The longest note that the API accepts, in characters. */
const MAX_NOTE = 1024;

/** Creates the event. Never throws or waits: a lost event is harmless, the status says the same. */
export function recordAuditEvent(
  client: Pick<KubeClient, 'create'>,
  logger: Logger,
  incident: Pick<Incident, 'metadata'>,
  reason: string,
  message: string,
): void {
  const { name, namespace, uid, resourceVersion } = incident.metadata;
  const event = {
    metadata: { namespace, generateName: `${name.slice(0, 40)}-` },
    eventTime: new Date().toISOString().replace('Z', '000Z'),
    reportingController: 'oplab.dev/gateway',
    reportingInstance: 'oplab-gateway',
    action: reason,
    reason,
    type: 'Warning',
    note: truncate(message, MAX_NOTE),
    regarding: { apiVersion: API_VERSION, kind: 'Incident', name, namespace, uid, resourceVersion },
  };
  client.create(EVENTS, event).catch((error: unknown) => {
    logger.warn({ name, namespace, error: errorMessage(error) }, 'the event could not be recorded');
  });
}
