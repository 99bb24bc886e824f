// Incidents as the commands read them: through the API server, parsed, with the raw object kept for -o json and yaml.

import { z } from 'zod';
import { type Incident, incident } from '../api/incident.ts';
import { InvalidInput, NotAllowed, NotFound } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isInvalid, isNotFound } from '../kube/errors.ts';
import { INCIDENTS } from '../kube/resources.ts';

export interface SeenIncident {
  readonly incident: Incident;
  /** As the API server gave it. */
  readonly raw: object;
}

/** An Incident that a person writes: what it leaves out, the API server fills in. */
const newIncident = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string().optional(),
    generateName: z.string().optional(),
    namespace: z.string().optional(),
  }),
  spec: z.record(z.string(), z.unknown()),
});
export type NewIncident = z.infer<typeof newIncident>;

/** Incidents of a cluster, or of a test. */
export interface Incidents {
  /** @throws NotFound */
  get(namespace: string, name: string): Promise<SeenIncident>;
  /** All namespaces when left out. */
  list(namespace: string | undefined): Promise<SeenIncident[]>;
  /**
   * The Incident as the API server has it now, or would have it.
   * @throws InvalidInput, NotAllowed, NotFound for a namespace that is not there
   */
  create(wanted: NewIncident, options: { readonly dryRun: boolean }): Promise<NewIncident>;
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

/** Who wrote it, in metadata.managedFields. */
const FIELD_MANAGER = 'oplab-cli';

/** Incidents of a cluster. */
export function clusterIncidents(client: Pick<KubeClient, 'get' | 'list' | 'create'>): Incidents {
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
    async create(wanted, { dryRun }) {
      const { namespace = '' } = wanted.metadata;
      try {
        const { name, ...metadata } = wanted.metadata;
        const object = { ...wanted, metadata: name === undefined ? metadata : { ...metadata, name } };
        const made = await client.create(INCIDENTS, object, { dryRun, strict: true, fieldManager: FIELD_MANAGER });
        return newIncident.parse(made);
      } catch (error) {
        if (isInvalid(error)) throw new InvalidInput(error.message, error);
        if (isForbidden(error)) throw new NotAllowed(error.message);
        if (!isNotFound(error)) throw error;
        throw new NotFound(
          `there is no namespace ${namespace}, or the cluster does not know Incidents (oplab is not installed in it)`,
          error,
        );
      }
    },
  };
}
