// Incidents as the commands read them: through the API server, parsed, with the raw object kept for -o json and yaml.

import { type Incident, incident } from '../api/incident.ts';
import { InvalidInput, NotFound } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { INCIDENTS } from '../kube/resources.ts';

export interface SeenIncident {
  readonly incident: Incident;
  /** As the API server gave it. */
  readonly raw: object;
}

/** Read access to Incidents. */
export interface Incidents {
  /** @throws NotFound */
  get(namespace: string, name: string): Promise<SeenIncident>;
  /** All namespaces when left out. */
  list(namespace: string | undefined): Promise<SeenIncident[]>;
}

/** Parses one Incident, for example from a manifest. @throws InvalidInput */
export function parseIncident(raw: object, where: string): Incident {
  const result = incident.safeParse(raw);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new InvalidInput(
    `${where} is no Incident that this oplab can read: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

/** Incidents of a cluster. */
export function clusterIncidents(client: Pick<KubeClient, 'get' | 'list'>): Incidents {
  const seen = (raw: KubeObject): SeenIncident => ({
    incident: parseIncident(raw, `Incident ${raw.metadata.namespace ?? ''}/${raw.metadata.name}`),
    raw,
  });
  return {
    async get(namespace, name) {
      try {
        return seen(await client.get(INCIDENTS, { namespace, name }));
      } catch (error) {
        if (!isNotFound(error)) throw error;
        throw new NotFound(
          `there is no Incident "${name}" in namespace ${namespace}; see: oplab incident list -A`,
          error,
        );
      }
    },
    async list(namespace) {
      try {
        return (await client.list(INCIDENTS, { namespace })).items.map(seen);
      } catch (error) {
        if (!isNotFound(error)) throw error;
        throw new NotFound('the cluster does not know Incidents: oplab is not installed in it', error);
      }
    },
  };
}
