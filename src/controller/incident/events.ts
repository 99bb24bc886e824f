// Records events on Incidents and Monitors. A lost event is harmless: status and log say the same.

import { API_VERSION } from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import { truncate } from '../../api/truncate.ts';
import { errorMessage } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { EVENTS } from '../../kube/resources.ts';
import type { Note } from '../event.ts';

/** The longest note that the API accepts, in characters. */
const MAX_NOTE = 1024;

/** Makes a recorder of events on objects of one kind. The recorder never throws or waits. */
export function eventRecorder(
  client: Pick<KubeClient, 'create'>,
  instance: string,
  log: Log,
  kind: 'Incident' | 'Monitor' = 'Incident',
): (object: Pick<Incident, 'metadata'>, note: Note) => void {
  return (object, { type, reason, note }) => {
    const { name, namespace, uid, resourceVersion } = object.metadata;
    const event = {
      metadata: { namespace, generateName: `${name.slice(0, 40)}-` },
      eventTime: new Date().toISOString().replace('Z', '000Z'),
      reportingController: 'oplab.dev/controller',
      reportingInstance: instance.slice(0, 128),
      action: reason,
      reason,
      type,
      note: truncate(note, MAX_NOTE),
      regarding: { apiVersion: API_VERSION, kind, name, namespace, uid, resourceVersion },
    };
    client.create(EVENTS, event).catch((error: unknown) => {
      log.debug({ kind, name, reason, error: errorMessage(error) }, 'the event could not be recorded');
    });
  };
}
