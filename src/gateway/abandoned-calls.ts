// Model calls that were under way when an earlier gateway was killed: nobody saw their end, so they are charged at their bound.

import type { AuditLog, Reservation, Reservations } from '../audit/log.ts';
import { messageOf, SessionSealed } from '../errors.ts';
import { backoffMs, pause } from '../net/retry.ts';
import type { Logger } from '../observability/logger.ts';
import { spending, usd } from './budget.ts';

export interface AbandonedCallsOptions {
  readonly log: Pick<AuditLog, 'append'> & Pick<Reservations, 'reservations'>;
  /** The session's record has changed: what was counted of it before counts no more. */
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

  /** No model call may be forwarded before: it would not be held against what is missing in the budget. */
  get isSettled(): boolean {
    return this.#settled;
  }

  /**
   * Puts what is left on record; call it once, before anything is reserved in this life. Resolves after the first try; while the
   * log takes nothing it goes on trying in the background.
   */
  async settle(): Promise<void> {
    if (!(await this.#try())) void this.#goOn();
  }

  async #goOn(): Promise<void> {
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
      logger.warn(
        { error: messageOf(error) },
        'model calls of an earlier gateway cannot be put on record: trying again',
      );
    }
    return this.#settled;
  }

  async #charge({ session, attempt, clientKey, bound }: Reservation): Promise<void> {
    const { log, logger, onRecord } = this.#options;
    const used = spending.parse(bound);
    const cut = 'the gateway ended while the call was under way';
    try {
      await log.append(
        { session, attempt, writer: 'gateway' },
        {
          clientKey,
          kind: 'model_call',
          tool: used.model.slice(0, 128),
          params: { ...used, status: null, stopReason: null, requestId: null, cut },
          content: `${used.model}: how it ended is not known, ${usd(used.costMicroUSD)}, cut off: ${cut} (charged at its upper bound)`,
        },
      );
      logger.info({ session, attempt, costMicroUSD: used.costMicroUSD }, 'a model call without an end was charged');
      onRecord(session);
    } catch (error) {
      // Its Incident is over: there is no budget any more.
      if (!(error instanceof SessionSealed)) throw error;
    }
  }
}
