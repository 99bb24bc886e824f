// Names and labels of the objects made for an Incident; they identify these objects after a crash.

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

/** An attempt of an Incident. */
export interface AttemptRef {
  readonly incident: Incident;
  readonly attempt: number;
}

/**
 * The name of the pod, service account and policy of an attempt, and the prefix of its bindings.
 */
export function attemptName(incident: Named, attempt: number): string {
  return `${baseName(incident)}-${attempt}`;
}

/** The name prefix of the bindings that let the checks of one Incident run. */
export function verifyBindingName(incident: Named): string {
  return `${baseName(incident)}-verify`;
}

/** Labels of everything that is made for an Incident. */
export function incidentLabels(incident: Named): Record<string, string> {
  return {
    [LABEL_MANAGED_BY]: MANAGED_BY,
    [LABEL_INCIDENT_UID]: incident.metadata.uid,
    // A label holds 63 characters. The name is for people; objects are found by the UID.
    [LABEL_INCIDENT_NAME]: incident.metadata.name.slice(0, 63).replace(/[-._]+$/, ''),
    [LABEL_INCIDENT_NAMESPACE]: incident.metadata.namespace ?? '',
  };
}

/** Labels of everything that is made for one attempt. */
export function attemptLabels(incident: Named, attempt: number): Record<string, string> {
  return { ...incidentLabels(incident), [LABEL_ATTEMPT]: String(attempt) };
}
