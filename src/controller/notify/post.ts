// One POST to a receiver, and what is known afterwards: whether it arrived, did not, was refused,
// or nobody can tell.

import { readBeginning } from '../../net/answer-body.ts';
import { openRequest } from '../../net/request.ts';
import { TimedOut } from '../../net/timed-out.ts';

export type Delivery =
  | { readonly type: 'sent' }
  /**
   * It was certainly not taken; the same may be sent again, after `afterMs` if the receiver said
   * so.
   */
  | { readonly type: 'again'; readonly why: string; readonly afterMs?: number }
  /** It was not taken, and will not be. */
  | { readonly type: 'refused'; readonly why: string }
  /** It may have been taken: sending it again could tell people twice. */
  | { readonly type: 'unknown'; readonly why: string };

export interface Message {
  readonly body: string;
  /** The same for every try. */
  readonly idempotencyKey: string;
}

/** From the first byte to the answer's head, in milliseconds. */
const TIME_LIMIT_MS = 5000;
/** A receiver that asks for more patience than this is asked earlier, in milliseconds. */
const MAX_RETRY_AFTER_MS = 60 * 60_000;
/** More of a refusal is not read. */
const MAX_REFUSAL_BYTES = 64;
/**
 * A refusal in one word, as Slack gives it (no_service); longer text may repeat the URL, which is a
 * secret.
 */
const REFUSAL_WORD = /^[a-z_]{1,40}$/;

/** Never throws; no text in the outcome names the URL. */
export async function post(url: URL, message: Message, timeLimitMs = TIME_LIMIT_MS): Promise<Delivery> {
  // A connection of its own: one that was used before may be closed from the other side while the
  // message is on its way.
  const outgoing = openRequest({
    url,
    method: 'POST',
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(message.body),
      'user-agent': 'oplab',
      'idempotency-key': message.idempotencyKey,
      connection: 'close',
    },
    limits: { head: timeLimitMs, whole: timeLimitMs },
  });
  outgoing.body.end(message.body);
  try {
    const response = await outgoing.receiveResponse();
    const delivery = judge(response.statusCode ?? 0, response.headers['retry-after'], new Date());
    if (delivery.type !== 'refused') return delivery;
    const text = (await readBeginning(response, MAX_REFUSAL_BYTES, timeLimitMs)).toString('utf8').trim();
    return REFUSAL_WORD.test(text) ? { ...delivery, why: `${delivery.why} ${text}` } : delivery;
  } catch (error) {
    const why = error instanceof TimedOut ? error.message : describeFailure(error);
    // Without a connection nothing can have arrived; from then on silence says nothing.
    return { type: outgoing.isConnected ? 'unknown' : 'again', why };
  } finally {
    outgoing.destroy();
  }
}

/** What an answer's status says of the message. */
export function judge(status: number, retryAfter: string | undefined, now: Date): Delivery {
  const why = `the receiver answered ${status}`;
  if (status >= 200 && status < 300) return { type: 'sent' };
  if (status >= 300 && status < 400) return { type: 'refused', why: `${why}: redirects are not followed` };
  // A proxy that waited in vain does not know what the receiver behind it did.
  if (status === 504) return { type: 'unknown', why };
  if (status === 429 || status === 408 || status >= 500) {
    const afterMs = retryAfterMs(retryAfter, now);
    return { type: 'again', why, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  return { type: 'refused', why };
}

/** Retry-After in seconds or as a date, in milliseconds from now. */
function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now.getTime();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS) : undefined;
}

/** Codes only: the messages of Node name the host. */
function describeFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was cut';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name of the host could not be resolved';
    default:
      return `the connection failed: ${code ?? 'unknown'}`;
  }
}
