// Reads the ConfigMap in which the gateway publishes what it signed about the audit log.

import * as z from 'zod';
import { auditAnchor } from '../gateway/protocol.ts';
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isNotFound } from '../kube/errors.ts';
import { CONFIG_MAPS } from '../kube/resources.ts';

/** What is published in the cluster. */
export interface ClusterAnchor {
  /** For messages. */
  readonly source: string;
  readonly checkpoint: string | undefined;
  readonly heads: string | undefined;
  readonly publicKey: string | undefined;
  /** Why it could not be read. */
  readonly problem?: string;
}

const configMap = z.looseObject({ data: z.record(z.string(), z.string()).nullish() });

/** @throws KubeError if the API server cannot be asked */
export async function clusterAnchor(client: Pick<KubeClient, 'get'>, namespace: string): Promise<ClusterAnchor> {
  const { name, keys } = auditAnchor;
  const source = `ConfigMap ${namespace}/${name}`;
  try {
    const { data } = configMap.parse(await client.get(CONFIG_MAPS, { namespace, name }));
    return {
      source,
      checkpoint: data?.[keys.checkpoint],
      heads: data?.[keys.heads],
      publicKey: data?.[keys.publicKey]?.trim(),
    };
  } catch (error) {
    if (!isNotFound(error) && !isForbidden(error)) throw error;
    const problem = isNotFound(error) ? 'does not exist' : 'may not be read with your rights';
    return { source, checkpoint: undefined, heads: undefined, publicKey: undefined, problem: `${source} ${problem}` };
  }
}
