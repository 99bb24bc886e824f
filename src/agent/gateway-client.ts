// The agent's side of the gateway's own door: task, start, entries, claim. Retries what may pass, stops at what is final.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { type NewEntryInput, type Receipt, receipt } from '../audit/entry.ts';
import { type ErrorCode, InvalidInput, isErrorCode, messageOf, NoLease, OplabError } from '../errors.ts';
import {
  type Conclusion,
  type LiveChunk,
  paths,
  startResult,
  type Task,
  task as taskSchema,
} from '../gateway/protocol.ts';
import { errorBody } from '../net/error-body.ts';
import { backoffMs, pause, REQUEST_BACKOFF } from '../net/retry.ts';

/** A request whose answer takes longer is sent again; every one of them is idempotent. */
const REQUEST_TIMEOUT_MS = 20_000;
/** A rotated token may need a moment; one that stays refused is no transient matter. */
const MAX_UNAUTHORIZED = 10;

export interface GatewayClientOptions {
  readonly url: string;
  /** Read anew for every request: the kubelet rotates it. */
  readonly tokenFile: string;
  /** Told about each wait, for the log. */
  readonly onRetry?: (what: string, reason: string) => void;
}

/** A failure after which nothing more can be done under this lease. */
export function isLeaseOver(error: unknown): boolean {
  return (
    error instanceof OplabError &&
    ['OPLAB_NO_LEASE', 'OPLAB_LIMIT_REACHED', 'OPLAB_SESSION_SEALED'].includes(error.code)
  );
}

/** The bearer header with the token as it is now. */
export async function bearer(tokenFile: string): Promise<string> {
  return `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
}

async function refusalOf(response: Response): Promise<{ code: ErrorCode; message: string }> {
  const text = await response.text().catch(() => '');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const parsed = errorBody.safeParse(body);
  if (parsed.success) {
    const { code, message } = parsed.data.error;
    if (isErrorCode(code)) return { code, message };
    // A newer gateway may know codes that this agent does not.
    return { code: 'OPLAB_GATEWAY_REFUSED', message: `${code}: ${message}` };
  }
  return { code: 'OPLAB_GATEWAY_REFUSED', message: `the gateway answered ${response.status}: ${text.slice(0, 300)}` };
}

export class GatewayClient {
  readonly #options: GatewayClientOptions;
  /** Names this run of the container: a start that is sent again because its answer got lost is not a second start. */
  readonly #run = randomUUID();

  constructor(options: GatewayClientOptions) {
    this.#options = options;
  }

  task(signal: AbortSignal): Promise<Task> {
    return this.#request('GET', paths.task, undefined, taskSchema, signal);
  }

  async start(signal: AbortSignal): Promise<{ alreadyStarted: boolean }> {
    return this.#request('POST', paths.start, { run: this.#run }, startResult, signal);
  }

  /** Resolves when the entry is on disk. The same client key with the same body is stored once, however often it is sent. */
  append(entry: NewEntryInput, signal: AbortSignal): Promise<Receipt> {
    return this.#request('POST', paths.entries, entry, receipt, signal);
  }

  async conclude(conclusion: Conclusion, signal: AbortSignal): Promise<void> {
    await this.#request('POST', paths.conclude, conclusion, z.unknown(), signal);
  }

  /** One try, no retry: loss is harmless. Rejects only when the lease is over. */
  async live(chunk: LiveChunk, signal: AbortSignal): Promise<void> {
    const response = await this.#send('POST', paths.live, chunk, signal).catch(() => undefined);
    if (response === undefined) return;
    if (response.status === 403) throw new NoLease((await refusalOf(response)).message);
    await response.body?.cancel();
  }

  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    return fetch(new URL(path, this.#options.url), {
      method,
      headers: {
        authorization: await bearer(this.#options.tokenFile),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
    });
  }

  async #request<T>(
    method: string,
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    signal: AbortSignal,
  ): Promise<T> {
    let unauthorized = 0;
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      let reason: string;
      try {
        const response = await this.#send(method, path, body, signal);
        if (response.ok) {
          const text = await response.text();
          const parsed = schema.safeParse(text === '' ? undefined : JSON.parse(text));
          if (parsed.success) return parsed.data;
          throw new InvalidInput(`${path}: the gateway's answer is not understood: ${z.prettifyError(parsed.error)}`);
        }
        const { code, message } = await refusalOf(response);
        const transient =
          response.status >= 500 ||
          code === 'OPLAB_NO_LEASE_YET' ||
          (response.status === 401 && unauthorized++ < MAX_UNAUTHORIZED);
        if (!transient) {
          if (response.status === 403) throw new NoLease(message);
          throw new OplabError(response.status === 429 ? 'OPLAB_LIMIT_REACHED' : code, message);
        }
        reason = `${response.status} ${code}`;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof OplabError) throw error;
        reason = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
      }
      this.#options.onRetry?.(`${method} ${path}`, reason);
      await pause(backoffMs(attempt + 1, REQUEST_BACKOFF), signal);
    }
  }
}
