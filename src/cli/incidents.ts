// Reads and creates Incidents through the API server; keeps the raw object for -o json and yaml.

import * as z from 'zod';
import type { Incident } from '../api/incident.ts';
import { InvalidInput, NotAllowed, NotFound } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { isForbidden, isInvalid, isNotFound } from '../kube/errors.ts';
import { INCIDENTS } from '../kube/resources.ts';

export interface SeenIncident {
  readonly incident: Incident;
  /** The object as the API server returned it. */
  readonly raw: object;
}

/** An Incident written by a person. The API server fills in the defaults of omitted fields. */
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

/** Access to Incidents, in a cluster or in a test. */
export interface Incidents {
  /** @throws NotFound */
  get(namespace: string, name: string): Promise<SeenIncident>;
  /** The objects as the API server returned them. Undefined lists all namespaces. */
  list(namespace: string | undefined): Promise<KubeObject[]>;
  /**
   * Returns the Incident as the API server stored it, or would store it in a dry run.
   * @throws InvalidInput, NotAllowed, NotFound if the namespace does not exist
   */
  create(wanted: NewIncident, options: { readonly dryRun: boolean }): Promise<NewIncident>;
}

/** The writer's name in metadata.managedFields. */
const FIELD_MANAGER = 'oplab-cli';

/** The Incidents of a cluster. */
export function clusterIncidents(client: Pick<KubeClient, 'get' | 'list' | 'create'>): Incidents {
  return {
    async get(namespace, name) {
      try {
        const raw = await client.get(INCIDENTS, { namespace, name });
        const { parseListed } = await import('./parse-incident.ts');
        return { incident: parseListed(raw), raw };
      } catch (error) {
        if (!isNotFound(error)) throw error;
        throw new NotFound(
          `Incident "${name}" not found in namespace ${namespace}; to list all: oplab incident list -A`,
          error,
        );
      }
    },
    async list(namespace) {
      try {
        return (await client.list(INCIDENTS, { namespace })).items;
      } catch (error) {
        if (!isNotFound(error)) throw error;
        throw new NotFound('this cluster does not serve Incidents; install oplab, or choose another --context', error);
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
          `namespace ${namespace} does not exist, or this cluster does not serve Incidents (oplab is not installed)`,
          error,
        );
      }
    },
  };
}
