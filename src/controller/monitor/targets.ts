// The target namespaces of a Monitor: its checks read them, and its agents work in them.

import type { Monitor } from '../../api/monitor.ts';

export function listTargets(monitor: Pick<Monitor, 'metadata' | 'spec'>): readonly string[] {
  return monitor.spec.incident.targetNamespaces ?? [monitor.metadata.namespace ?? 'default'];
}
