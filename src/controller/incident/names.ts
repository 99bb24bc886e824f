// Names and labels of what oplab makes for an Incident: by them objects are found again after a crash, and swept.

import {
  LABEL_ATTEMPT,
  LABEL_INCIDENT_NAME,
  LABEL_INCIDENT_NAMESPACE,
  LABEL_INCIDENT_UID,
  LABEL_MANAGED_BY,
  MANAGED_BY,
} from '../../api/group.ts';
import type { Incident } from '../../api/incident.ts';
import { baseName } from '../built-object.ts';

type Named = Pick<Incident, 'metadata'>;

/** Pod, service account, policy and bindings of an attempt. */
export function attemptName(incident: Named, attempt: number): string {
  return `${baseName(incident)}-${attempt}`;
}

/** The bindings of the identity that runs the checks, per Incident. */
export function verifyBindingName(incident: Named): string {
  return `${baseName(incident)}-verify`;
}

/** On everything that is made for an Incident. */
export function incidentLabels(incident: Named): Record<string, string> {
  return {
    [LABEL_MANAGED_BY]: MANAGED_BY,
    [LABEL_INCIDENT_UID]: incident.metadata.uid,
    // A label holds 63 characters; the name is for people, the UID is what finds.
    [LABEL_INCIDENT_NAME]: incident.metadata.name.slice(0, 63).replace(/[-._]+$/, ''),
    [LABEL_INCIDENT_NAMESPACE]: incident.metadata.namespace ?? '',
  };
}

/** On everything that is made for one attempt. */
export function attemptLabels(incident: Named, attempt: number): Record<string, string> {
  return { ...incidentLabels(incident), [LABEL_ATTEMPT]: String(attempt) };
}
