// One request on its way through a recording door: intent first, then the request, then the answer, cut when the lease dies.

import { once } from 'node:events';
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import {
  AuditUnavailable,
  InvalidInput,
  messageOf,
  NoLease,
  OplabError,
  TooLarge,
  UpstreamUnavailable,
} from '../../errors.ts';
import type { Caller, GatewayContext } from './door.ts';

/** The answer to a write is collected, so that its outcome is on record before the caller sees it. */
const MAX_ANSWER = 64 * 1024 * 1024;
/** An answer that is not meant to go on must not pause longer than this, in milliseconds. */
const PAUSE_MS = 60_000;

/** How a write ended. */
export interface Outcome {
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** The answer, when it was collected. */
  readonly body?: Buffer;
  /** Bytes that went through a stream. */
  readonly bytesIn?: number;
  readonly bytesOut?: number;
  /** How a stream ended, or why there is no answer. */
  readonly ended?: string;
}

/** An intent on record, waiting for its outcome. */
export interface Intent {
  outcome(outcome: Outcome): Promise<void>;
}

/** What passes, and how. */
export interface Way {
  /** Who answers, for messages: "the API server". */
  readonly upstream: string;
  /** May change something: what comes of it is on record before the caller sees it. */
  readonly writes: boolean;
  /** The answer goes on as long as somebody listens. */
  readonly follows: boolean;
  /** Until the head of an answer, in milliseconds. */
  readonly answerMs: number;
  /** As it is forwarded. */
  readonly body: Buffer;
  /** Puts the intent on record, if there is to be one. Resolves when it is on disk. */
  record(): Promise<Intent | undefined>;
  /** The request to the upstream, not yet ended. */
  open(): ClientRequest;
  /** The headers of an answer that go back. */
  headers(answer: IncomingMessage): OutgoingHttpHeaders;
  /** Makes less of a read's answer, if it was a good one. */
  readonly reduce?: (body: Buffer) => Buffer;
}

/** Takes one request through. @throws what keeps it from passing; then nothing or a part was answered */
export async function pass(
  doors: GatewayContext,
  caller: Caller,
  request: IncomingMessage,
  response: ServerResponse,
  way: Way,
): Promise<void> {
  await new Passage(doors, caller, request, response, way).run();
}

class Passage {
  readonly #doors: GatewayContext;
  readonly #caller: Caller;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #way: Way;
  readonly #stop = new AbortController();
  #cut: string | undefined;

  constructor(doors: GatewayContext, caller: Caller, request: IncomingMessage, response: ServerResponse, way: Way) {
    this.#doors = doors;
    this.#caller = caller;
    this.#request = request;
    this.#response = response;
    this.#way = way;
  }

  async run(): Promise<void> {
    const { writes, follows } = this.#way;
    const intent = await this.#way.record();
    const hold = this.#doors.leases.hold(this.#caller.identity, 'work', (message) => {
      this.#cut = `the lease ended: ${message}`;
      this.#stop.abort();
    });
    const hangUp = () => {
      this.#cut ??= 'the caller hung up';
      this.#stop.abort();
    };
    this.#response.once('close', hangUp);
    try {
      // The lease may have died while the intent was being written.
      if (!hold.alive()) throw new NoLease(this.#cut ?? 'the lease ended');
      const answer = await this.#send();
      const outcome = writes ? intent : undefined;
      if ((writes && !follows) || this.#way.reduce !== undefined) await this.#deliver(answer, outcome);
      else await this.#stream(answer, outcome, () => hold.alive());
    } catch (error) {
      if (writes) await this.#recordFailure(intent, error);
      throw error;
    } finally {
      hold.release();
      this.#response.off('close', hangUp);
    }
  }

  #send(): Promise<IncomingMessage> {
    const { upstream, answerMs, body } = this.#way;
    const outgoing = this.#way.open();
    return new Promise((resolve, reject) => {
      const abort = () => outgoing.destroy(new UpstreamUnavailable(this.#cut ?? 'cut off'));
      const timer = setTimeout(() => outgoing.destroy(new Error('no answer in time')), answerMs);
      this.#stop.signal.addEventListener('abort', abort, { once: true });
      outgoing.on('response', (answer) => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', abort);
        resolve(answer);
      });
      outgoing.on('error', (error) => {
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', abort);
        reject(
          error instanceof OplabError
            ? error
            : new UpstreamUnavailable(`${upstream} does not answer: ${messageOf(error)}; try again`, error),
        );
      });
      if (this.#stop.signal.aborted) abort();
      outgoing.end(body);
    });
  }

  /** The whole answer: on record first, then to the caller. */
  async #deliver(answer: IncomingMessage, intent: Intent | undefined): Promise<void> {
    const status = answer.statusCode ?? 502;
    const chunks: Buffer[] = [];
    let size = 0;
    await this.#reading(answer, false, async (chunk) => {
      size += chunk.length;
      if (size > MAX_ANSWER) throw new TooLarge(`the answer of ${this.#way.upstream} is too large`);
      chunks.push(chunk);
    });
    const whole = Buffer.concat(chunks);
    await intent?.outcome({ status, body: whole });
    const body = status === 200 ? (this.#way.reduce?.(whole) ?? whole) : whole;
    const headers = this.#way.headers(answer);
    delete headers['content-length'];
    this.#response.writeHead(status, { ...headers, 'content-length': body.length });
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body);
  }

  /** An answer that is passed on as it comes, no faster than the caller reads. */
  async #stream(answer: IncomingMessage, intent: Intent | undefined, alive: () => boolean): Promise<void> {
    const status = answer.statusCode ?? 502;
    const byUpstream = `ended by ${this.#way.upstream}`;
    this.#response.writeHead(status, this.#way.headers(answer));
    // A watch's first event may be long in coming; the caller wants to know now that it is heard.
    this.#response.flushHeaders();
    let bytesOut = 0;
    let ended = byUpstream;
    try {
      await this.#reading(answer, this.#way.follows, async (chunk) => {
        if (!alive()) throw new NoLease(this.#cut ?? 'the lease ended');
        bytesOut += chunk.length;
        if (!this.#response.write(chunk)) await once(this.#response, 'drain', { signal: this.#stop.signal });
      });
    } catch (error) {
      ended = this.#cut ?? messageOf(error);
    }
    await intent?.outcome({ status, bytesOut, ended });
    if (ended === byUpstream) this.#response.end();
    else this.#response.destroy();
  }

  async #reading(answer: IncomingMessage, follows: boolean, take: (chunk: Buffer) => Promise<void>): Promise<void> {
    const { upstream } = this.#way;
    const abort = () => answer.destroy(new UpstreamUnavailable(this.#cut ?? 'cut off'));
    const paused = () => answer.destroy(new UpstreamUnavailable(`${upstream} stopped in the middle of its answer`));
    let timer = follows ? undefined : setTimeout(paused, PAUSE_MS);
    this.#stop.signal.addEventListener('abort', abort, { once: true });
    if (this.#stop.signal.aborted) abort();
    try {
      for await (const chunk of answer) {
        await take(chunk);
        if (timer !== undefined) {
          clearTimeout(timer);
          timer = setTimeout(paused, PAUSE_MS);
        }
      }
      if (!answer.complete) throw new UpstreamUnavailable(`${upstream} cut its answer off`);
    } finally {
      clearTimeout(timer);
      this.#stop.signal.removeEventListener('abort', abort);
    }
  }

  /** A write that may or may not have happened is said to be so. */
  async #recordFailure(intent: Intent | undefined, error: unknown): Promise<void> {
    if (error instanceof AuditUnavailable || error instanceof InvalidInput) return;
    const ended = this.#cut ?? messageOf(error);
    await intent
      ?.outcome({ status: null, ended: `${ended}; whether it was done is not known` })
      .catch((failure: unknown) => {
        this.#doors.logger.error({ error: messageOf(failure) }, 'the outcome of a write could not be recorded');
      });
  }
}
