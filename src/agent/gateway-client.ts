// The agent's side of the gateway's own door: task, start, entries, claim. Retries what may pass,
// stops at what is final.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Agent, IncomingMessage } from 'node:http';
import { z } from 'zod';
import { type NewEntryInput, type Receipt, receipt } from '../audit/entry.ts';
import { ERRORS, type ErrorCode, InvalidInput, isErrorCode, messageOf, NoLease, OplabError } from '../errors.ts';
import {
  type Conclusion,
  type LiveChunk,
  paths,
  startResult,
  type Task,
  task as taskSchema,
} from '../gateway/protocol.ts';
import { readAnswer, readBeginning } from '../net/answer-body.ts';
import { errorBody } from '../net/error-body.ts';
import { createAgent, openRequest } from '../net/request.ts';
import { backoffMs, pause, REQUEST_BACKOFF } from '../net/retry.ts';

/** A request whose answer takes longer is sent again; every one of them is idempotent. */
const REQUEST_TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 64 * 1024;
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

/** A refusal as it came. */
interface Refusal {
  /**
   * Undefined for words that this agent does not know, such as those of a newer gateway or of a
   * proxy.
   */
  readonly code: ErrorCode | undefined;
  readonly message: string;
}

async function readRefusal(response: IncomingMessage): Promise<Refusal> {
  const text = (await readBeginning(response, MAX_REFUSAL_BYTES, REQUEST_TIMEOUT_MS)).toString('utf8');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const parsed = errorBody.safeParse(body);
  if (!parsed.success) {
    return { code: undefined, message: `the gateway answered ${response.statusCode}: ${text.slice(0, 300)}` };
  }
  const { code, message } = parsed.data.error;
  return isErrorCode(code) ? { code, message } : { code: undefined, message: `${code}: ${message}` };
}

/**
 * Whether the same request may succeed later: as the table of codes says, and for an unknown code
 * as the status says.
 */
function mayPass({ code }: Refusal, status: number): boolean {
  return code === undefined ? status >= 500 : ERRORS[code].retry;
}

/** What a refusal ends the request with. */
function finalError({ code, message }: Refusal, status: number): OplabError {
  if (code !== undefined) return new OplabError(code, message);
  if (status === 403) return new NoLease(message);
  return new OplabError(status === 429 ? 'OPLAB_LIMIT_REACHED' : 'OPLAB_GATEWAY_REFUSED', message);
}

export class GatewayClient {
  readonly #options: GatewayClientOptions;
  readonly #agent: Agent;
  /**
   * Names this run of the container: a start that is sent again because its answer got lost is not
   * a second start.
   */
  readonly #run = randomUUID();

  constructor(options: GatewayClientOptions) {
    this.#options = options;
    this.#agent = createAgent(new URL(options.url));
  }

  task(signal: AbortSignal): Promise<Task> {
    return this.#request('GET', paths.task, undefined, taskSchema, signal);
  }

  async start(signal: AbortSignal): Promise<{ alreadyStarted: boolean }> {
    return this.#request('POST', paths.start, { run: this.#run }, startResult, signal);
  }

  /**
   * Resolves when the entry is on disk. The same client key with the same body is stored once,
   * however often it is sent.
   */
  append(entry: NewEntryInput, signal: AbortSignal): Promise<Receipt> {
    return this.#request('POST', paths.entries, entry, receipt, signal);
  }

  async conclude(conclusion: Conclusion, signal: AbortSignal): Promise<void> {
    await this.#request('POST', paths.conclude, conclusion, z.unknown(), signal);
  }

  /** One try, no retry: loss is harmless. Rejects only when the lease is over. */
  async live(chunk: LiveChunk, signal: AbortSignal): Promise<void> {
    const response = await this.#send('POST', paths.live, chunk, signal).catch(() => undefined);
    if (response?.statusCode === 403) throw finalError(await readRefusal(response), 403);
    response?.resume();
  }

  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const outgoing = openRequest({
      url: new URL(path, this.#options.url),
      method,
      headers: {
        authorization: await bearer(this.#options.tokenFile),
        ...(payload === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
      },
      agent: this.#agent,
      limits: { head: REQUEST_TIMEOUT_MS, whole: REQUEST_TIMEOUT_MS },
    });
    outgoing.body.end(payload);
    return await outgoing.receiveResponse(signal);
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
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) {
          const text = (await readAnswer(response, MAX_ANSWER_BYTES, { signal })).toString('utf8');
          const parsed = schema.safeParse(text === '' ? undefined : JSON.parse(text));
          if (parsed.success) return parsed.data;
          throw new InvalidInput(`${path}: the gateway's answer is not understood: ${z.prettifyError(parsed.error)}`);
        }
        const refusal = await readRefusal(response);
        // The token may just have been rotated.
        const isUnproven = status === 401 && unauthorized++ < MAX_UNAUTHORIZED;
        if (!isUnproven && !mayPass(refusal, status)) throw finalError(refusal, status);
        reason = `${status} ${refusal.code ?? refusal.message}`;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof OplabError) throw error;
        reason = messageOf(error);
      }
      this.#options.onRetry?.(`${method} ${path}`, reason);
      await pause(backoffMs(attempt + 1, REQUEST_BACKOFF), signal);
    }
  }
}
