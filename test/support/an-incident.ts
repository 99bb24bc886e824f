// For tests: an Incident with what the test cares about; the rest is of no importance.

import { API_VERSION } from '../../src/api/group.ts';
import { type Incident, incident } from '../../src/api/incident.ts';

export interface IncidentParts {
  readonly metadata?: object;
  readonly spec?: object;
  readonly status?: object;
}

/** A new Incident, with the given fields of metadata, spec and status over the default ones. */
export function anIncident({ metadata, spec, status }: IncidentParts = {}): Incident {
  return incident.parse({
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: { name: 'store-down', namespace: 'tikv', uid: 'incident-1', ...metadata },
    spec: { summary: 'a store is down', verify: { checks: [{ name: 'up' }] }, ...spec },
    ...(status === undefined ? {} : { status }),
  });
}
