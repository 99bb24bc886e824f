// One POST to a receiver, and what is known afterwards: whether it arrived, did not, was refused, or nobody can tell.

import http from 'node:http';
import https from 'node:https';
import type { TLSSocket } from 'node:tls';

export type Delivery =
  | { readonly type: 'sent' }
  /** It was certainly not taken; the same may be sent again, after `afterMs` if the receiver said so. */
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
/** A refusal in one word, as Slack gives it (no_service); longer text may repeat the URL, which is a secret. */
const REFUSAL_WORD = /^[a-z_]{1,40}$/;

/** Never throws; no text in the outcome names the URL. */
export function post(url: URL, message: Message, timeLimitMs = TIME_LIMIT_MS): Promise<Delivery> {
  return new Promise((resolve) => {
    // Until the connection stands nothing can have arrived; from then on silence tells nothing.
    let mayHaveArrived = false;
    const end = (delivery: Delivery) => {
      clearTimeout(timer);
      request.destroy();
      resolve(delivery);
    };
    const fail = (why: string) => end(mayHaveArrived ? { type: 'unknown', why } : { type: 'again', why });

    const secure = url.protocol === 'https:';
    const request = (secure ? https : http).request(url, {
      method: 'POST',
      // A connection that was used before may be closed from the other side while the message is on its way.
      agent: false,
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'content-length': Buffer.byteLength(message.body),
        'user-agent': 'oplab',
        'idempotency-key': message.idempotencyKey,
        connection: 'close',
      },
    });
    const timer = setTimeout(() => fail(`no answer within ${timeLimitMs} ms`), timeLimitMs);
    request.on('socket', (socket: TLSSocket) => {
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        mayHaveArrived = true;
      });
    });
    request.on('error', (error: NodeJS.ErrnoException) => fail(reasonOf(error)));
    request.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const delivery = judge(status, response.headers['retry-after'], new Date());
      if (delivery.type !== 'refused') {
        end(delivery);
        return;
      }
      firstWord(response).then((word) =>
        end(word === undefined ? delivery : { ...delivery, why: `${delivery.why} ${word}` }),
      );
    });
    request.end(message.body);
  });
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
function reasonOf(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'the connection was refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was cut';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name of the host could not be resolved';
    default:
      return `the connection failed: ${error.code ?? 'unknown'}`;
  }
}

async function firstWord(response: http.IncomingMessage): Promise<string | undefined> {
  let text = '';
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length > 64) break;
    }
  } catch {
    // The status says enough.
  }
  const word = text.trim();
  return REFUSAL_WORD.test(word) ? word : undefined;
}
