// Sends one POST to a receiver: it arrived, failed, was refused, or the result is unknown.

import { readBeginning } from '../../net/answer-body.ts';
import { openRequest } from '../../net/request.ts';
import { TimedOut } from '../../net/timed-out.ts';

export type Delivery =
  | { readonly type: 'sent' }
  /** It did not arrive and may be sent again, after `afterMs` if the receiver gave a time. */
  | { readonly type: 'again'; readonly why: string; readonly afterMs?: number }
  /** It was refused, and would be refused again. */
  | { readonly type: 'refused'; readonly why: string }
  /** It may have arrived: sending it again could notify people twice. */
  | { readonly type: 'unknown'; readonly why: string };

export interface Message {
  readonly body: string;
  /** Identical for every try. */
  readonly idempotencyKey: string;
}

/** From the start of the request to the head of the response, in ms. */
const TIME_LIMIT_MS = 5000;
/** The upper limit of a Retry-After that is respected, in ms. */
const MAX_RETRY_AFTER_MS = 60 * 60_000;
/** The part of a refusal that is read, in bytes. */
const MAX_REFUSAL_BYTES = 64;
/** A refusal in one word, such as Slack's no_service. Longer text may repeat the secret URL. */
const REFUSAL_WORD = /^[a-z_]{1,40}$/;

/** Never rejects. No text in the result contains the URL. */
export async function post(url: URL, message: Message, timeLimitMs = TIME_LIMIT_MS): Promise<Delivery> {
  // A new connection: the receiver may close a reused one while the message is being sent.
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
    const delivery = interpretAnswer(response.statusCode ?? 0, response.headers['retry-after'], new Date());
    if (delivery.type !== 'refused') return delivery;
    const text = (await readBeginning(response, MAX_REFUSAL_BYTES, timeLimitMs)).toString('utf8').trim();
    return REFUSAL_WORD.test(text) ? { ...delivery, why: `${delivery.why} ${text}` } : delivery;
  } catch (error) {
    const why = error instanceof TimedOut ? error.message : describeFailure(error);
    // Before the connection is established, nothing can have arrived. After that, it may have.
    return { type: outgoing.isConnected ? 'unknown' : 'again', why };
  } finally {
    outgoing.destroy();
  }
}

/** Derives the delivery from the status of an answer. */
export function interpretAnswer(status: number, retryAfter: string | undefined, now: Date): Delivery {
  const why = `the receiver answered ${status}`;
  if (status >= 200 && status < 300) return { type: 'sent' };
  if (status >= 300 && status < 400) return { type: 'refused', why: `${why}: redirects are not followed` };
  // The proxy got no answer, so it does not know what the receiver did.
  if (status === 504) return { type: 'unknown', why };
  if (status === 429 || status === 408 || status >= 500) {
    const afterMs = retryAfterMs(retryAfter, now);
    return { type: 'again', why, ...(afterMs === undefined ? {} : { afterMs }) };
  }
  return { type: 'refused', why };
}

/** Converts Retry-After, in seconds or as a date, to milliseconds from now. */
function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now.getTime();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS) : undefined;
}

/** Uses the code only, because the messages of Node contain the host. */
function describeFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was closed';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the host name could not be resolved';
    default:
      return `the connection failed: ${code ?? 'unknown'}`;
  }
}
