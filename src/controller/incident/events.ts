// Events on an Incident, for `kubectl describe`. Losing one loses nothing that is not in status and log as well.

import { API_VERSION } from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import { messageOf } from '../../errors.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { EVENTS } from '../../kube/resources.ts';
import type { Note } from './draft.ts';

/** What the API takes for a note, in characters. */
const MAX_NOTE = 1024;

/** A recorder that never holds anybody up. */
export function eventRecorder(
  client: Pick<KubeClient, 'create'>,
  instance: string,
  log: Log,
): (incident: Incident, note: Note) => void {
  return (incident, { type, reason, note }) => {
    const { name, namespace, uid, resourceVersion } = incident.metadata;
    const event = {
      metadata: { namespace, generateName: `${name.slice(0, 40)}-` },
      eventTime: new Date().toISOString().replace('Z', '000Z'),
      reportingController: 'oplab.dev/controller',
      reportingInstance: instance.slice(0, 128),
      action: reason,
      reason,
      type,
      note: note.length > MAX_NOTE ? `${note.slice(0, MAX_NOTE - 1)}…` : note,
      regarding: { apiVersion: API_VERSION, kind: 'Incident', name, namespace, uid, resourceVersion },
    };
    client.create(EVENTS, event).catch((error: unknown) => {
      log.debug({ incident: name, reason, error: messageOf(error) }, 'the event could not be recorded');
    });
  };
}
