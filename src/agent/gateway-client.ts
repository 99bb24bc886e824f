// The agent's client of the gateway: task, start, entries, claim. Retries transient failures, and
// throws final ones.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Agent, IncomingMessage } from 'node:http';
import * as z from 'zod';
import { type NewEntryInput, type Receipt, receipt } from '../audit/entry.ts';
import { ERRORS, type ErrorCode, isErrorCode } from '../error-codes.ts';
import { errorMessage, NoLease, OplabError } from '../errors.ts';
import {
  type Conclusion,
  type LiveChunk,
  paths,
  type StartResult,
  startResult,
  type Task,
  task as taskSchema,
} from '../gateway/protocol.ts';
import { parseInput } from '../input/parse-input.ts';
import { readAnswer, readBeginning } from '../net/answer-body.ts';
import { errorBody } from '../net/error-body.ts';
import { withWholeCharacters } from '../net/json.ts';
import { createAgent, openRequest } from '../net/request.ts';
import { backoffMs, pause, REQUEST_BACKOFF } from '../net/retry.ts';
import type { RecordPlace, StateRecord } from './loop-state.ts';

/** A request whose answer takes longer is sent again; all requests are idempotent. */
const REQUEST_TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** The gateway keeps less. */
const MAX_CONVERSATION_BYTES = 64 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 64 * 1024;
/** How often a token may be refused: a rotated token may need a moment, more is a final failure. */
const MAX_UNAUTHORIZED = 10;

export interface GatewayClientOptions {
  readonly url: string;
  /** Read for every request, because the kubelet rotates the token. */
  readonly tokenFile: string;
  /** Called before each retry, for the log. */
  readonly onRetry?: (what: string, reason: string) => void;
}

/** Whether nothing more can be done under this lease after the failure. */
export function isLeaseOver(error: unknown): boolean {
  return (
    error instanceof OplabError &&
    ['OPLAB_NO_LEASE', 'OPLAB_LIMIT_REACHED', 'OPLAB_SESSION_SEALED'].includes(error.code)
  );
}

/** The bearer header with the current token. */
export async function bearer(tokenFile: string): Promise<string> {
  return `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}`;
}

/** A refusal as it was received. */
interface Refusal {
  /** Undefined if the code is unknown (from a newer gateway) or missing (from a proxy). */
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
 * Whether the same request may succeed later. The table of codes decides, or the status if the code
 * is unknown.
 */
function mayPass({ code }: Refusal, status: number): boolean {
  return code === undefined ? status >= 500 : ERRORS[code].retry;
}

/** The error that a final refusal ends the request with. */
function finalError({ code, message }: Refusal, status: number): OplabError {
  if (code !== undefined) return new OplabError(code, message);
  if (status === 403) return new NoLease(message);
  return new OplabError(status === 429 ? 'OPLAB_LIMIT_REACHED' : 'OPLAB_GATEWAY_REFUSED', message);
}

export class GatewayClient {
  readonly #options: GatewayClientOptions;
  readonly #agent: Agent;
  /**
   * Identifies this run of the container, so that a start that is sent again because its answer was
   * lost does not count as a second start.
   */
  readonly #run = randomUUID();

  constructor(options: GatewayClientOptions) {
    this.#options = options;
    this.#agent = createAgent(new URL(options.url));
  }

  task(signal: AbortSignal): Promise<Task> {
    return this.#request('GET', paths.task, undefined, taskSchema, signal);
  }

  /** @param restarts how often the agent was started again in its container */
  async start(restarts: number, signal: AbortSignal): Promise<StartResult> {
    return this.#request('POST', paths.start, { run: this.#run, restarts }, startResult, signal);
  }

  /** The records of an earlier process of the attempt. After `start`. */
  async conversation(signal: AbortSignal): Promise<unknown[]> {
    return this.#request('GET', this.#conversationPath(), undefined, z.array(z.unknown()).default([]), signal, {
      maxBytes: MAX_CONVERSATION_BYTES,
      parse: (text) => text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)])),
    });
  }

  /** Resolves when the record is on disk. The same record may be sent again. */
  async keep(record: StateRecord, { index, isWhole }: RecordPlace, signal: AbortSignal): Promise<void> {
    const path = `${this.#conversationPath()}&index=${index}&whole=${isWhole}`;
    await this.#request('POST', path, record, z.unknown(), signal);
  }

  #conversationPath(): string {
    return `${paths.conversation}?run=${this.#run}`;
  }

  /**
   * Resolves when the entry is on disk. An entry that is sent again with the same client key and
   * body is stored once.
   */
  append(entry: NewEntryInput, signal: AbortSignal): Promise<Receipt> {
    return this.#request('POST', paths.entries, entry, receipt, signal);
  }

  async conclude(conclusion: Conclusion, signal: AbortSignal): Promise<void> {
    await this.#request('POST', paths.conclude, conclusion, z.unknown(), signal);
  }

  /** Resolves when the gateway knows that the processes of a command have ended. */
  async commandEnded(callKey: string, signal: AbortSignal): Promise<void> {
    await this.#request('POST', paths.commandEnded, { callKey }, z.unknown(), signal);
  }

  /** Is not retried, because loss is harmless. Rejects only when the lease is over. */
  async live(chunk: LiveChunk, signal: AbortSignal): Promise<void> {
    const response = await this.#send('POST', paths.live, chunk, signal).catch(() => undefined);
    if (response?.statusCode === 403) throw finalError(await readRefusal(response), 403);
    response?.resume();
  }

  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : withWholeCharacters(JSON.stringify(body));
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
    { maxBytes = MAX_ANSWER_BYTES, parse = (text: string): unknown => JSON.parse(text) } = {},
  ): Promise<T> {
    let unauthorized = 0;
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted();
      let reason: string;
      try {
        const response = await this.#send(method, path, body, signal);
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) {
          const text = (await readAnswer(response, maxBytes, { signal })).toString('utf8');
          const content: unknown = text === '' ? undefined : parse(text);
          return parseInput(schema, content, `${path}: the gateway's answer is not valid`, { values: 'hidden' });
        }
        const refusal = await readRefusal(response);
        // The token may just have been rotated.
        const isUnproven = status === 401 && unauthorized++ < MAX_UNAUTHORIZED;
        if (!isUnproven && !mayPass(refusal, status)) throw finalError(refusal, status);
        reason = `${status} ${refusal.code ?? refusal.message}`;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof OplabError) throw error;
        reason = errorMessage(error);
      }
      this.#options.onRetry?.(`${method} ${path}`, reason);
      await pause(backoffMs(attempt + 1, REQUEST_BACKOFF), signal);
    }
  }
}
