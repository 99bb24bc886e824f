// The gauges that are read from the gateway's parts on each scrape.

import { readFreeBytes } from '../audit/free-space.ts';
import type { AuditStore } from '../audit/store.ts';
import type { BodyMemory } from './body-memory.ts';
import type { ClassQuotas } from './class-quotas.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { Sessions } from './sessions.ts';

/** Registers all gauges. */
export function observeGauges(parts: {
  readonly metrics: GatewayMetrics;
  readonly log: Pick<AuditStore, 'failure' | 'failureDetails'>;
  /** The folder of the audit log. */
  readonly dataDir: string;
  readonly sessions: Pick<Sessions, 'leases' | 'signer' | 'guard'>;
  readonly memory: BodyMemory;
  readonly quotas: ClassQuotas;
}): void {
  const { metrics, log, dataDir, sessions, memory, quotas } = parts;
  const { leases, signer, guard } = sessions;
  metrics.observe('leases', 'Attempts with a live lease.', () => leases.live);
  metrics.observe('streams', 'Streams held open by a lease.', () => leases.held);
  metrics.observe('body_bytes', 'Bytes of bodies kept in memory by all doors.', () => memory.total);
  metrics.observe('audit_healthy', '1 while the audit log can be written.', () => (log.failure === undefined ? 1 : 0));
  metrics.observe('audit_full', '1 while the audit log accepts no new work, because its volume is full.', () =>
    log.failureDetails?.isFull === true ? 1 : 0,
  );
  metrics.observe('audit_free_bytes', 'Bytes that are free on the volume of the audit log.', () =>
    readFreeBytes(dataDir),
  );
  metrics.observe('audit_broken', '1 while the audit log as a whole contradicts its signed checkpoint.', () =>
    signer.broken === undefined ? 0 : 1,
  );
  metrics.observe(
    'audit_broken_sessions',
    "Sessions whose audit log contradicts their Incident's status or what was signed.",
    () => new Set([...guard.brokenSessions, ...signer.brokenSessions]).size,
  );
  metrics.observeClasses(() => quotas.usages());
}
