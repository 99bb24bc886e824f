// The kube door for ordinary requests and for answers that go on: watch, logs -f, and whatever a proxy subresource streams.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  AuditUnavailable,
  CeilingReached,
  InvalidInput,
  messageOf,
  NoLease,
  OplabError,
  TooLarge,
  UpstreamUnavailable,
} from '../../../errors.ts';
import { readBody } from '../../http/answer.ts';
import type { Concurrency } from '../../http/concurrency.ts';
import { reportCeiling } from '../ceiling.ts';
import { admit, type Caller, type Doors, requireAudit } from '../door.ts';
import type { ApiServer } from './api-server.ts';
import { classify, type KubeRequest } from './classify.ts';
import { requestHeaders, responseHeaders } from './headers.ts';
import { type Intent, recordIntent, requireReadable } from './recording.ts';
import { statusOf } from './refusal.ts';

/** What the API server takes itself. */
const MAX_BODY = 3 * 1024 * 1024;
/** A write's answer is collected, so that its outcome is on record before the caller sees it. */
const MAX_ANSWER = 64 * 1024 * 1024;
/** Until the head of an answer, in milliseconds. The API server gives up on ordinary requests after 60 s itself. */
const ANSWER_MS = 75_000;
/** An answer that is not meant to go on must not pause longer than this, in milliseconds. */
const PAUSE_MS = 60_000;

export interface KubeDoor {
  readonly apiServer: ApiServer;
  readonly audience: string;
  readonly concurrency: Concurrency;
}

/** Proves the caller of a kube request and reads what it wants. A spent limit is reported on the way. */
export async function admitKube(
  doors: Doors,
  door: KubeDoor,
  request: IncomingMessage,
): Promise<{ caller: Caller; wanted: KubeRequest; token: string }> {
  const wanted = classify(request.method ?? 'GET', request.url ?? '');
  let caller: Caller;
  try {
    caller = await admit(doors, request, door.audience, 'work');
  } catch (error) {
    if (error instanceof CeilingReached) {
      const identity = await doors.identities.prove(request.headers.authorization, door.audience);
      const decision = doors.leases.decide(identity);
      if (decision.state === 'spent') await reportCeiling(doors, decision.lease, error);
    }
    throw error;
  }
  // Reads stop as well: what the agent sees next could not be put on record either.
  requireAudit(doors.log);
  return { caller, wanted, token: await doors.attemptTokens.token(caller.lease) };
}

/** Answers one request. Never throws. */
export async function forward(
  doors: Doors,
  door: KubeDoor,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let leave = () => {};
  let done = () => {};
  let wanted: KubeRequest | undefined;
  try {
    const admitted = await admitKube(doors, door, request);
    wanted = admitted.wanted;
    const { session } = admitted.caller.lease;
    leave = door.concurrency.enter(session);
    done = doors.inFlight.begin(session);
    await new Forwarding(doors, door, admitted.caller, wanted, request, response).run(admitted.token);
  } catch (error) {
    refuse(doors, request, response, error);
  } finally {
    done();
    leave();
    doors.metrics.kubeRequests.inc({
      verb: wanted?.verb ?? 'unknown',
      kind: wanted?.kind ?? 'refused',
      status: response.statusCode,
    });
  }
}

function refuse(doors: Doors, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const code = error instanceof OplabError ? error.code : 'OPLAB_INTERNAL';
  doors.metrics.refused.inc({ door: 'kube', reason: code });
  if (!(error instanceof OplabError)) doors.logger.error({ error }, 'the kube door failed');
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body, headers } = statusOf(error, request.url ?? '');
  // What is left of a refused body is not read.
  response.writeHead(status, { ...headers, connection: 'close' }).end(body);
}

class Forwarding {
  readonly #doors: Doors;
  readonly #door: KubeDoor;
  readonly #caller: Caller;
  readonly #wanted: KubeRequest;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #stop = new AbortController();
  #cut: string | undefined;

  constructor(
    doors: Doors,
    door: KubeDoor,
    caller: Caller,
    wanted: KubeRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.#doors = doors;
    this.#door = door;
    this.#caller = caller;
    this.#wanted = wanted;
    this.#request = request;
    this.#response = response;
  }

  async run(token: string): Promise<void> {
    const { kind, secrets, follows } = this.#wanted;
    const writes = kind === 'write';
    const { headers, method = 'GET', url = '/' } = this.#request;
    const hasBody = kind !== 'read';
    const body = hasBody ? await readBody(this.#request, MAX_BODY) : Buffer.alloc(0);
    const contentType = headers['content-type'];
    if (writes && body.length > 0) requireReadable(contentType, headers['content-encoding']);
    const intent =
      writes || secrets
        ? await recordIntent(this.#doors, this.#caller, this.#wanted, {
            body,
            contentType: body.length > 0 ? contentType : undefined,
            userAgent: headers['user-agent'],
          })
        : undefined;
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
      const answer = await this.#send(method, url, token, body, writes);
      const outcome = writes ? intent : undefined;
      if (writes && !follows) await this.#deliver(answer, outcome);
      else await this.#stream(answer, outcome, () => hold.alive());
    } catch (error) {
      if (writes) await this.#recordFailure(intent, error);
      throw error;
    } finally {
      hold.release();
      this.#response.off('close', hangUp);
    }
  }

  #send(method: string, url: string, token: string, body: Buffer, writes: boolean): Promise<IncomingMessage> {
    const headers = requestHeaders(this.#request.headers);
    if (writes) {
      // The outcome is read from the answer to a write, so it must come plain; clients read what the content type says.
      headers['accept-encoding'] = 'identity';
      if (/protobuf|cbor/i.test(headers.accept?.toString() ?? '')) headers.accept = 'application/json';
    }
    const outgoing = this.#door.apiServer.request({
      method,
      path: url,
      headers: { ...headers, 'content-length': body.length },
      token,
    });
    return new Promise((resolve, reject) => {
      const abort = () => outgoing.destroy(new UpstreamUnavailable(this.#cut ?? 'cut off'));
      const timer = setTimeout(() => outgoing.destroy(new Error('no answer in time')), ANSWER_MS);
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
            : new UpstreamUnavailable(`the API server does not answer: ${messageOf(error)}; try again`, error),
        );
      });
      if (this.#stop.signal.aborted) abort();
      outgoing.end(body);
    });
  }

  /** The whole answer of a write: on record first, then to the caller. */
  async #deliver(answer: IncomingMessage, intent: Intent | undefined): Promise<void> {
    const status = answer.statusCode ?? 502;
    const chunks: Buffer[] = [];
    let size = 0;
    await this.#reading(answer, false, async (chunk) => {
      size += chunk.length;
      if (size > MAX_ANSWER) throw new TooLarge('the answer of the API server is too large');
      chunks.push(chunk);
    });
    const body = Buffer.concat(chunks);
    await intent?.outcome({ status, body });
    const headers = responseHeaders(answer.headers);
    delete headers['content-length'];
    this.#response.writeHead(status, { ...headers, 'content-length': body.length });
    this.#response.end(this.#request.method === 'HEAD' ? undefined : body);
  }

  /** An answer that is passed on as it comes, no faster than the caller reads. */
  async #stream(answer: IncomingMessage, intent: Intent | undefined, alive: () => boolean): Promise<void> {
    const status = answer.statusCode ?? 502;
    this.#response.writeHead(status, responseHeaders(answer.headers));
    // A watch's first event may be long in coming; the caller wants to know now that it is heard.
    this.#response.flushHeaders();
    let bytesOut = 0;
    let ended = 'ended by the API server';
    try {
      await this.#reading(answer, this.#wanted.follows, async (chunk) => {
        if (!alive()) throw new NoLease(this.#cut ?? 'the lease ended');
        bytesOut += chunk.length;
        if (!this.#response.write(chunk)) await once(this.#response, 'drain', { signal: this.#stop.signal });
      });
    } catch (error) {
      ended = this.#cut ?? messageOf(error);
    }
    await intent?.outcome({ status, bytesOut, ended });
    if (ended === 'ended by the API server') this.#response.end();
    else this.#response.destroy();
  }

  async #reading(answer: IncomingMessage, follows: boolean, take: (chunk: Buffer) => Promise<void>): Promise<void> {
    const abort = () => answer.destroy(new UpstreamUnavailable(this.#cut ?? 'cut off'));
    const paused = () => answer.destroy(new UpstreamUnavailable('the API server stopped in the middle of its answer'));
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
      if (!answer.complete) throw new UpstreamUnavailable('the API server cut its answer off');
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
