// Monitors and failing probes for tests.

import { type Monitor, monitor as monitorSchema } from '../../src/api/monitor.ts';
import type { Failing } from '../../src/controller/monitor/probe.ts';

export const START = Date.UTC(2026, 0, 1);
export const iso = (second: number): string => new Date(START + second * 1000).toISOString();

export function monitor(spec: object = {}, parts: { metadata?: object; status?: object } = {}): Monitor {
  return monitorSchema.parse({
    apiVersion: 'oplab.dev/v1alpha1',
    kind: 'Monitor',
    metadata: { name: 'store-down', namespace: 'tikv', uid: '0a1b2c3d-4444', generation: 1, ...parts.metadata },
    spec: {
      check: { prometheus: { service: 'prometheus', query: 'pd_cluster_status{type="store_down_count"} > 0' } },
      incident: { summary: 'a store is down' },
      ...spec,
    },
    ...(parts.status === undefined ? {} : { status: parts.status }),
  });
}

export const failing = (fingerprint = 'f', group: Record<string, string> = {}): Failing => ({
  fingerprint,
  group,
  labels: { ...group, job: 'pd' },
  value: '1',
});
