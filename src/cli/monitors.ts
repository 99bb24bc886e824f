// Reads Monitors through the API server.

import { type Monitor, monitor } from '../api/monitor.ts';
import { NotFound } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { MONITORS } from '../kube/resources.ts';

/** Read access to Monitors. */
export interface Monitors {
  /** Undefined lists all namespaces. @throws NotFound if the cluster does not serve Monitors */
  list(namespace: string | undefined): Promise<Monitor[]>;
}

/** The Monitors of a cluster, except those that this version cannot read. */
export function clusterMonitors(client: Pick<KubeClient, 'list'>): Monitors {
  return {
    async list(namespace) {
      try {
        const { items } = await client.list(MONITORS, { namespace });
        return items.flatMap((raw) => {
          const parsed = monitor.safeParse(raw);
          return parsed.success ? [parsed.data] : [];
        });
      } catch (error) {
        if (!isNotFound(error)) throw error;
        throw new NotFound(
          'this cluster does not serve Monitors: oplab is not installed, or is an older version',
          error,
        );
      }
    },
  };
}
