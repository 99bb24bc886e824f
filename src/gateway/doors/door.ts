// What every door does first: prove the caller, look at its lease, take a place; and what all doors share.

import type { IncomingMessage } from 'node:http';
import type { NewEntry, Receipt, Writer } from '../../audit/entry.ts';
import type { AuditLog } from '../../audit/log.ts';
import { AuditUnavailable } from '../../errors.ts';
import type { Logger } from '../../observability/logger.ts';
import type { AttemptTokens } from '../attempt-tokens.ts';
import type { Budgets } from '../budget.ts';
import type { Identities, Identity } from '../identity.ts';
import type { InFlight } from '../in-flight.ts';
import type { LeaseRegistry } from '../lease-registry.ts';
import type { Lease } from '../leases.ts';
import type { LiveOutput } from '../live-output.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { StatusWriter } from '../status-writer.ts';

/** What the doors work with; made once by the gateway. */
export interface GatewayContext {
  readonly log: AuditLog;
  readonly identities: Identities;
  readonly leases: LeaseRegistry;
  readonly budgets: Budgets;
  readonly attemptTokens: AttemptTokens;
  readonly status: StatusWriter;
  readonly live: LiveOutput;
  readonly inFlight: InFlight;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
}

/** A caller that has come through: who it is and what its lease says. */
export interface Caller {
  readonly identity: Identity;
  readonly lease: Lease;
}

/** Proves the caller. @throws Unauthenticated, NoLease, NoLeaseYet, LimitReached, UpstreamUnavailable */
export async function admit(
  doors: GatewayContext,
  request: IncomingMessage,
  audience: string,
  purpose: 'work' | 'testimony',
): Promise<Caller> {
  const identity = await doors.identities.prove(request.headers.authorization, audience);
  return { identity, lease: doors.leases.require(identity, purpose) };
}

/** Appends and measures. Resolves when the entry is on disk. */
export async function record(doors: GatewayContext, lease: Lease, writer: Writer, entry: NewEntry): Promise<Receipt> {
  const started = performance.now();
  const { session, attempt } = lease;
  const receipt = await doors.log.append({ session, attempt, writer }, entry);
  doors.metrics.ackSeconds.observe((performance.now() - started) / 1000);
  return receipt;
}

/** Nothing passes while nothing can be put on record. @throws AuditUnavailable */
export function requireAudit(log: Pick<AuditLog, 'failure'>): void {
  if (log.failure !== undefined) throw new AuditUnavailable(`the audit log cannot be written: ${log.failure}`);
}
