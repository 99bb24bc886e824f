// One request whose intent is on record: sent to the upstream, answered, its outcome recorded, cut when the lease dies.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  AuditUnavailable,
  InvalidInput,
  messageOf,
  NoLease,
  OplabError,
  TooLarge,
  UpstreamUnavailable,
} from '../../errors.ts';
import type { Caller, Exchange, ForwardPlan, GatewayContext, Intent } from './door.ts';

/** The answer to a write is collected, so that its outcome is on record before the caller sees it. */
const MAX_ANSWER = 64 * 1024 * 1024;
/** An answer that is not meant to go on must not pause longer than this, in milliseconds. */
const PAUSE_MS = 60_000;

/**
 * Forwards one request.
 * @param intent what was put on record for a write
 * @returns the status that was answered
 * @throws what keeps it from being forwarded; then nothing, or a part, was answered
 */
export async function forwardRequest(
  gateway: Pick<GatewayContext, 'leases' | 'logger'>,
  caller: Caller,
  exchange: Extract<Exchange, { type: 'request' }>,
  plan: ForwardPlan,
  intent: Intent | undefined,
): Promise<number> {
  await new ForwardedRequest(gateway, caller, exchange, plan, intent).run();
  return exchange.response.statusCode;
}

class ForwardedRequest {
  readonly #gateway: Pick<GatewayContext, 'leases' | 'logger'>;
  readonly #caller: Caller;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #plan: ForwardPlan;
  readonly #intent: Intent | undefined;
  readonly #stop = new AbortController();
  #cut: string | undefined;

  constructor(
    gateway: Pick<GatewayContext, 'leases' | 'logger'>,
    caller: Caller,
    { request, response }: Extract<Exchange, { type: 'request' }>,
    plan: ForwardPlan,
    intent: Intent | undefined,
  ) {
    this.#gateway = gateway;
    this.#caller = caller;
    this.#request = request;
    this.#response = response;
    this.#plan = plan;
    this.#intent = intent;
  }

  async run(): Promise<void> {
    const { writes, follows, reduce } = this.#plan;
    const hold = this.#gateway.leases.hold(this.#caller.identity, 'act', (message) => {
      this.#cut = `the lease ended: ${message}`;
      this.#stop.abort();
    });
    const hangUp = () => {
      this.#cut ??= 'the caller hung up';
      this.#stop.abort();
    };
    this.#response.once('close', hangUp);
    try {
      // While the intent was being written, the caller may have hung up, and the lease may have died.
      if (this.#response.destroyed) hangUp();
      if (this.#cut !== undefined || !hold.alive()) throw new NoLease(this.#cut ?? 'the lease ended');
      const answer = await this.#send();
      if ((writes && !follows) || reduce !== undefined) await this.#deliver(answer);
      else await this.#stream(answer, () => hold.alive());
    } catch (error) {
      await this.#recordFailure(error);
      throw error;
    } finally {
      hold.release();
      this.#response.off('close', hangUp);
    }
  }

  #send(): Promise<IncomingMessage> {
    const { upstream, answerMs, body } = this.#plan;
    const outgoing = this.#plan.open();
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
  async #deliver(answer: IncomingMessage): Promise<void> {
    const status = answer.statusCode ?? 502;
    const chunks: Buffer[] = [];
    let size = 0;
    await this.#reading(answer, false, async (chunk) => {
      size += chunk.length;
      if (size > MAX_ANSWER) throw new TooLarge(`the answer of ${this.#plan.upstream} is too large`);
      chunks.push(chunk);
    });
    const whole = Buffer.concat(chunks);
    await this.#intent?.outcome({ status, body: whole });
    const body = status === 200 ? (this.#plan.reduce?.(whole) ?? whole) : whole;
    const headers = this.#plan.headers(answer);
    delete headers['content-length'];
    this.#response.writeHead(status, { ...headers, 'content-length': body.length });
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body);
  }

  /** An answer that is passed on as it comes, no faster than the caller reads. */
  async #stream(answer: IncomingMessage, alive: () => boolean): Promise<void> {
    const status = answer.statusCode ?? 502;
    const byUpstream = `ended by ${this.#plan.upstream}`;
    this.#response.writeHead(status, this.#plan.headers(answer));
    // A watch's first event may be long in coming; the caller wants to know now that it is heard.
    this.#response.flushHeaders();
    let bytesOut = 0;
    let ended = byUpstream;
    try {
      await this.#reading(answer, this.#plan.follows, async (chunk) => {
        if (!alive()) throw new NoLease(this.#cut ?? 'the lease ended');
        bytesOut += chunk.length;
        if (!this.#response.write(chunk)) await once(this.#response, 'drain', { signal: this.#stop.signal });
      });
    } catch (error) {
      ended = this.#cut ?? messageOf(error);
    }
    await this.#intent?.outcome({ status, bytesOut, ended });
    if (ended === byUpstream) this.#response.end();
    else this.#response.destroy();
  }

  async #reading(answer: IncomingMessage, follows: boolean, take: (chunk: Buffer) => Promise<void>): Promise<void> {
    const { upstream } = this.#plan;
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
  async #recordFailure(error: unknown): Promise<void> {
    if (error instanceof AuditUnavailable || error instanceof InvalidInput) return;
    const ended = this.#cut ?? messageOf(error);
    await this.#intent
      ?.outcome({ status: null, ended: `${ended}; whether it was done is not known` })
      .catch((failure: unknown) => {
        this.#gateway.logger.error({ error: messageOf(failure) }, 'the outcome of a write could not be recorded');
      });
  }
}
