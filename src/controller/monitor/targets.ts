// Where a Monitor looks, and where the agents of its Incidents work: the same namespaces.

import type { Monitor } from '../../api/monitor.ts';

export function targetsOf(monitor: Pick<Monitor, 'metadata' | 'spec'>): readonly string[] {
  return monitor.spec.incident.targetNamespaces ?? [monitor.metadata.namespace ?? 'default'];
}
