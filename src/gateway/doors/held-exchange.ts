// Runs a forwarded exchange under its lease: cuts it when the lease ends or the caller hangs up,
// and always records an outcome.

import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { AuditUnavailable, errorMessage, InvalidInput, NoLease, UpstreamUnavailable } from '../../errors.ts';
import type { Explanation } from '../running-commands.ts';
import type { Caller, Exchange, GatewayContext, Intent, Outcome } from './door.ts';

/** The exchange while its lease is held. */
export interface Held {
  /** Aborts when the exchange is cut. */
  readonly signal: AbortSignal;
  /** Why the exchange was cut; undefined while it continues. */
  readonly cut: string | undefined;
  /** Whether the lease is alive; to be checked before each piece is forwarded. */
  isAlive(): boolean;
  /** Ends the exchange. Only the first reason counts. */
  end(why: string): void;
}

/**
 * Runs `forward` while the caller's lease is held.
 * @param recorded the recorded intent of a write. If `forward` fails, the outcome is recorded as not
 * known. And what explains the request: it ends with its command
 * @throws NoLease when nothing may be sent any more; otherwise the error of `forward`
 */
export async function whileHeld(
  gateway: Pick<GatewayContext, 'leases' | 'logger' | 'commands'>,
  caller: Caller,
  exchange: Exchange,
  { intent, explanation }: { readonly intent: Intent | undefined; readonly explanation: Explanation | undefined },
  forward: (held: Held) => Promise<number>,
): Promise<number> {
  const stop = new AbortController();
  let cut: string | undefined;
  const end = (why: string) => {
    cut ??= why;
    stop.abort(new UpstreamUnavailable(cut));
  };
  const lease = gateway.leases.hold(caller.identity, 'act', (message) => end(`the lease ended: ${message}`));
  const connection = towardsCaller(exchange);
  const hangUp = () => end('the caller hung up');
  connection.once('close', hangUp);
  let forget = () => {};
  try {
    // While the intent was being written, the caller may have hung up or the lease may have ended.
    if (connection.destroyed) hangUp();
    // A process that still sends outlived its command.
    if (explanation !== undefined && 'commandSeq' in explanation) {
      const { commandSeq } = explanation;
      forget = gateway.commands.whenOver(caller.lease.session, commandSeq, () =>
        end(`command ${commandSeq} has ended`),
      );
    }
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
    // Without a log no outcome can be recorded, and a request that is not valid was not sent.
    if (!(error instanceof AuditUnavailable || error instanceof InvalidInput)) {
      const ended = `${cut ?? errorMessage(error)}; whether it was done is not known`;
      await recordOutcome(gateway, intent, { status: null, ended });
    }
    throw error;
  } finally {
    lease.release();
    forget();
    connection.off('close', hangUp);
  }
}

/** What the answer is written to, and what closes when the caller hangs up. */
export function towardsCaller(exchange: Exchange): ServerResponse | Duplex {
  return exchange.type === 'request' ? exchange.response : exchange.socket;
}

/** Records an outcome that no longer matters to the caller. Never throws. */
export async function recordOutcome(
  { logger }: Pick<GatewayContext, 'logger'>,
  intent: Intent | undefined,
  outcome: Outcome,
): Promise<void> {
  try {
    await intent?.outcome(outcome);
  } catch (error) {
    logger.error({ error: errorMessage(error) }, 'the outcome of a write could not be recorded');
  }
}
