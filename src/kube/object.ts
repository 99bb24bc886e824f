// An object of the API: what all kinds have in common.

import * as z from 'zod';

const kubeObjectMeta = z.looseObject({
  /** Empty for objects that are never stored, such as reviews. */
  name: z.string().default(''),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  resourceVersion: z.string().optional(),
  generation: z.number().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  creationTimestamp: z.string().nullish(),
  deletionTimestamp: z.string().nullish(),
  finalizers: z.array(z.string()).optional(),
});

export const kubeObject = z.looseObject({
  apiVersion: z.string().optional(),
  kind: z.string().optional(),
  metadata: kubeObjectMeta,
});

/** An object from the API server. It also contains all fields that are not named here. */
export type KubeObject = z.infer<typeof kubeObject>;
/** An object to send to the API server. A review has no name; others may use `generateName`. */
export type NewKubeObject = Omit<z.input<typeof kubeObject>, 'metadata'> & {
  metadata?: z.input<typeof kubeObjectMeta>;
  [key: string]: unknown;
};

/**
 * The key in reflectors and work queues: "namespace/name", or the name of a cluster-scoped object.
 */
export function objectKey(object: { metadata: { name: string; namespace?: string | undefined } }): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

/** The parts of a key made by `objectKey`. */
export function splitKey(key: string): { name: string; namespace?: string } {
  const slash = key.indexOf('/');
  return slash === -1 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
