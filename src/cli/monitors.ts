// Monitors as the commands read them.

import { type Monitor, monitor } from '../api/monitor.ts';
import { NotFound } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { MONITORS } from '../kube/resources.ts';

/** Read access to Monitors. */
export interface Monitors {
  /** All namespaces when left out. @throws NotFound when the cluster knows none */
  list(namespace: string | undefined): Promise<Monitor[]>;
}

/** Monitors of a cluster. One that this version cannot read is left out. */
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
        throw new NotFound('the cluster does not know Monitors: oplab is not installed in it, or is older', error);
      }
    },
  };
}
