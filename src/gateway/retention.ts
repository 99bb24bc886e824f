// Prunes the audit log by itself: sealed sessions that are older than the retention.

import type { AuditStore } from '../audit/store.ts';
import { errorMessage } from '../errors.ts';
import { pause } from '../net/retry.ts';
import type { Logger } from '../observability/logger.ts';

export interface RetentionOptions {
  readonly log: Pick<AuditStore, 'prune'>;
  /** How long sealed sessions are kept, in milliseconds. Undefined: forever. */
  readonly keepMs: number | undefined;
  /** The log is evidence of a break: nothing may be deleted from it. */
  readonly isEvidence: () => boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The time between two looks, in milliseconds. Default: an hour. */
  readonly intervalMs?: number;
}

/**
 * Looks now and then until the signal. Without a retention, only finishes a prune that an earlier
 * gateway began. Never throws.
 */
export async function keepRetention(options: RetentionOptions): Promise<void> {
  const { log, keepMs, isEvidence, logger, signal, intervalMs = 3_600_000 } = options;
  do {
    try {
      const before = keepMs === undefined ? new Date(0) : new Date(Date.now() - keepMs);
      for (const { session, incident, entries } of isEvidence() ? [] : await log.prune(before)) {
        logger.info({ session, ...incident, entries }, 'session pruned: it is older than the retention');
      }
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ error: errorMessage(error) }, 'the audit log could not be pruned; the next look tries again');
    }
    await pause(intervalMs, signal);
  } while (!signal.aborted && keepMs !== undefined);
}
