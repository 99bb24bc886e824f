// An exchange that goes on to an upstream, under its lease: cut when the lease dies or the caller
// hangs up, and never left without an outcome.

import { AuditUnavailable, InvalidInput, messageOf, NoLease, UpstreamUnavailable } from '../../errors.ts';
import type { Caller, Exchange, GatewayContext, Intent, Outcome } from './door.ts';

/** What the exchange may still do. */
export interface Held {
  /** Aborts when the exchange is cut. */
  readonly signal: AbortSignal;
  /** Why the exchange was cut; undefined as long as it goes on. */
  readonly cut: string | undefined;
  /** Ask before each piece is passed on. */
  isAlive(): boolean;
  /** Ends the exchange. Only the first reason counts. */
  end(why: string): void;
}

/**
 * Runs `forward` while the caller's lease is held.
 * @param intent what was put on record for a write. If `forward` fails, its outcome is recorded as
 * not known
 * @throws NoLease when nothing may be sent any more; otherwise what `forward` throws
 */
export async function whileHeld(
  gateway: Pick<GatewayContext, 'leases' | 'logger'>,
  caller: Caller,
  exchange: Exchange,
  intent: Intent | undefined,
  forward: (held: Held) => Promise<number>,
): Promise<number> {
  const stop = new AbortController();
  let cut: string | undefined;
  const end = (why: string) => {
    cut ??= why;
    stop.abort(new UpstreamUnavailable(cut));
  };
  const lease = gateway.leases.hold(caller.identity, 'act', (message) => end(`the lease ended: ${message}`));
  const towardsCaller = exchange.type === 'request' ? exchange.response : exchange.socket;
  const hangUp = () => end('the caller hung up');
  towardsCaller.once('close', hangUp);
  try {
    // While the intent was being written, the caller may have hung up, and the lease may have died.
    if (towardsCaller.destroyed) hangUp();
    if (cut !== undefined || !lease.alive()) throw new NoLease(cut ?? 'the lease ended');
    return await forward({
      signal: stop.signal,
      get cut() {
        return cut;
      },
      isAlive: () => lease.alive(),
      end,
    });
  } catch (error) {
    // Without a log there is no outcome, and what does not fit has not been sent.
    if (!(error instanceof AuditUnavailable || error instanceof InvalidInput)) {
      const ended = `${cut ?? messageOf(error)}; whether it was done is not known`;
      await recordOutcome(gateway, intent, { status: null, ended });
    }
    throw error;
  } finally {
    lease.release();
    towardsCaller.off('close', hangUp);
  }
}

/** Records an outcome that changes nothing for the caller any more. Never throws. */
export async function recordOutcome(
  { logger }: Pick<GatewayContext, 'logger'>,
  intent: Intent | undefined,
  outcome: Outcome,
): Promise<void> {
  try {
    await intent?.outcome(outcome);
  } catch (error) {
    logger.error({ error: messageOf(error) }, 'the outcome of a write could not be recorded');
  }
}
