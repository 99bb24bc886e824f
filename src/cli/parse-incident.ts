// Parses Incidents. Apart from incidents.ts, because a command that only lists loads no schema of them.

import { type Incident, incident } from '../api/incident.ts';
import { parseInput } from '../input/parse-input.ts';
import type { KubeObject } from '../kube/client.ts';

/** Parses one Incident, for example from a manifest. @throws InvalidInput */
export function parseIncident(raw: object, where: string): Incident {
  return parseInput(incident, raw, `${where} is not an Incident that this version of oplab can read`, {
    values: 'shown',
  });
}

/** Parses an Incident of the cluster. @throws InvalidInput */
export function parseListed(raw: KubeObject): Incident {
  return parseIncident(raw, `Incident ${raw.metadata.namespace ?? ''}/${raw.metadata.name}`);
}
