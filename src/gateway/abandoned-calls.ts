// Charges model calls that were in progress when an earlier gateway was killed. Their usage is
// unknown, so they are charged what was reserved for them.

import type { AuditLog, Reservation, Reservations } from '../audit/log.ts';
import { errorMessage, SessionSealed } from '../errors.ts';
import { backoffMs, pause } from '../net/retry.ts';
import type { Logger } from '../observability/logger.ts';
import { spending, usd } from './budget.ts';

export interface AbandonedCallsOptions {
  readonly log: Pick<AuditLog, 'append'> & Pick<Reservations, 'reservations'>;
  /** Why the log of a session is broken. Nothing is added to such a log, because it is evidence. */
  readonly broken: (session: string) => string | undefined;
  /** Called when a call was recorded: a budget that was loaded before is out of date. */
  readonly onRecord: (session: string) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const BACKOFF = { baseMs: 500, maxMs: 15_000 };

export class AbandonedCalls {
  readonly #options: AbandonedCallsOptions;
  #settled = false;

  constructor(options: AbandonedCallsOptions) {
    this.#options = options;
  }

  /**
   * Whether all calls are recorded. Before that, budgets are incomplete and no call may be
   * forwarded.
   */
  get isSettled(): boolean {
    return this.#settled;
  }

  /**
   * Records the remaining calls. Call it once, after the logs were compared with their anchors, and
   * before this process makes a reservation. Resolves after the first try. If the log refuses an
   * entry, retries in the background.
   */
  async settle(): Promise<void> {
    if (!(await this.#try())) void this.#retry();
  }

  async #retry(): Promise<void> {
    const { signal } = this.#options;
    for (let failures = 1; !this.#settled && !signal.aborted; failures += 1) {
      await pause(backoffMs(failures, BACKOFF), signal);
      if (!signal.aborted) await this.#try();
    }
  }

  async #try(): Promise<boolean> {
    const { log, logger } = this.#options;
    try {
      for (const left of await log.reservations()) await this.#charge(left);
      this.#settled = true;
    } catch (error) {
      logger.warn({ error: errorMessage(error) }, 'model calls of an earlier gateway cannot be recorded; retrying');
    }
    return this.#settled;
  }

  async #charge({ session, attempt, clientKey, bound }: Reservation): Promise<void> {
    const { log, logger, broken, onRecord } = this.#options;
    if (broken(session) !== undefined) return;
    const used = spending.parse(bound);
    const cut = 'the gateway stopped while the call was in progress';
    try {
      await log.append(
        { session, attempt, writer: 'gateway' },
        {
          clientKey,
          kind: 'model_call',
          tool: used.model.slice(0, 128),
          params: { ...used, status: null, stopReason: null, requestId: null, cut },
          content: `${used.model}: result unknown, ${usd(used.costMicroUSD)}, cut off: ${cut} (charged at its upper bound)`,
        },
      );
      logger.info(
        { session, attempt, costMicroUSD: used.costMicroUSD },
        'charged a model call whose result is unknown',
      );
      onRecord(session);
    } catch (error) {
      // The session is sealed, so its budget no longer matters.
      if (!(error instanceof SessionSealed)) throw error;
    }
  }
}
