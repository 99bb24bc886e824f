// Forwards a request whose intent is recorded: sends it, answers the caller, records the outcome.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorMessage, NoLease, OplabError, TooLarge, UpstreamUnavailable } from '../../errors.ts';
import { readPieces } from '../../net/answer-body.ts';
import type { Head, OutgoingRequest } from '../../net/request.ts';
import { TimedOut } from '../../net/timed-out.ts';
import type { MemoryHold } from '../body-memory.ts';
import type { Exchange, ForwardPlan, Intent } from './door.ts';
import type { Held } from './held-exchange.ts';

/**
 * In bytes. The answer to a write is kept up to here: the outcome is recorded before the caller sees
 * it. An object of the API server has at most 1.5 MiB.
 */
const MAX_KEPT = 2 * 1024 * 1024;
/** In bytes. Answers that are filtered are kept as a whole. */
const MAX_FILTERED = 32 * 1024 * 1024;
/**
 * The longest pause of an upstream that sends, and of a caller that reads, an answer that does not
 * follow. In milliseconds.
 */
const PAUSE_MS = 60_000;
/** How long the answer to a write is awaited after its exchange was cut, in milliseconds. */
const SETTLE_MS = 10_000;

type RequestExchange = Extract<Exchange, { type: 'request' }>;

/** One request on its way to an upstream and back. */
interface Forwarding {
  readonly held: Held;
  /** For the part of the answer that is kept. */
  readonly memory: MemoryHold;
  readonly exchange: RequestExchange;
  readonly plan: ForwardPlan;
  /** The recorded intent of a write. */
  readonly intent: Intent | undefined;
}

/**
 * Forwards one request.
 * @returns the status of the answer
 * @throws if the request cannot be forwarded; the caller then got no answer, or a part of one
 */
export async function forwardRequest(forwarding: Forwarding): Promise<number> {
  const { held, exchange, plan } = forwarding;
  const outgoing = send(plan);
  if (plan.writes && !plan.follows && plan.reduce === undefined) {
    return await settle(held, exchange, async (settling) => {
      const answer = await answeredBy(plan, outgoing, () => outgoing.receiveResponse(settling.signal));
      await deliver({ ...forwarding, held: settling }, answer);
      return answer.statusCode ?? 502;
    });
  }
  const answer = await answeredBy(plan, outgoing, () => outgoing.receiveResponse(held.signal));
  if (plan.reduce !== undefined) await filter(forwarding, plan.reduce, answer);
  else await stream(forwarding, answer);
  return exchange.response.statusCode;
}

/**
 * Awaits the answer to a write although its exchange was cut, so that a caller who hangs up cannot
 * keep from the record what was done: only the answer has the name of an object that the API server
 * named. The caller is cut off at once.
 */
async function settle(
  held: Held,
  { response }: RequestExchange,
  work: (settling: Held) => Promise<number>,
): Promise<number> {
  const settled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const onCut = () => {
    response.destroy();
    timer = setTimeout(() => settled.abort(held.signal.reason), SETTLE_MS);
  };
  held.signal.addEventListener('abort', onCut, { once: true });
  if (held.signal.aborted) onCut();
  try {
    return await work({
      signal: settled.signal,
      get cut() {
        return held.cut;
      },
      isAlive: () => held.isAlive(),
      end: (why) => held.end(why),
    });
  } finally {
    clearTimeout(timer);
    held.signal.removeEventListener('abort', onCut);
  }
}

/** Sends the request as it was recorded. */
export function send(plan: ForwardPlan): OutgoingRequest {
  const outgoing = plan.open(plan.request);
  outgoing.body.end(plan.request.body);
  return outgoing;
}

/** Waits for the head of an answer. @throws UpstreamUnavailable that names the upstream */
export async function answeredBy<T extends Head | IncomingMessage>(
  plan: Pick<ForwardPlan, 'upstream'>,
  outgoing: OutgoingRequest,
  receive: () => Promise<T>,
): Promise<T> {
  try {
    return await receive();
  } catch (error) {
    outgoing.destroy();
    if (error instanceof OplabError) throw error;
    throw new UpstreamUnavailable(`${plan.upstream} does not answer: ${errorMessage(error)}; try again`, error);
  }
}

/** Keeps the whole answer to a read, and sends the caller what the filter leaves of it. */
async function filter(
  { held, memory, exchange, plan, intent }: Forwarding,
  reduce: (body: Buffer) => Buffer,
  answer: IncomingMessage,
): Promise<void> {
  let size = 0;
  const { body } = await readBeginning(plan, piecesOf(held, plan, answer), (bytes) => {
    size += bytes;
    if (size > MAX_FILTERED) throw new TooLarge(`the answer of ${plan.upstream} is too large`);
    memory.grow(bytes);
    return true;
  });
  const status = answer.statusCode ?? 502;
  await intent?.outcome({ status, body });
  sendWhole(exchange, plan, answer, status === 200 ? reduce(body) : body);
}

/**
 * Records the answer to a write, and then sends it to the caller. Of an answer that is too large to
 * be kept, the beginning is recorded, and the rest is streamed.
 */
async function deliver({ held, memory, exchange, plan, intent }: Forwarding, answer: IncomingMessage): Promise<void> {
  const { response } = exchange;
  const pieces = piecesOf(held, plan, answer);
  let size = 0;
  // A write is done by now, so an answer that is larger than the caller's share is not refused.
  const { body, isWhole } = await readBeginning(plan, pieces, (bytes) => {
    size += bytes;
    return size <= MAX_KEPT && memory.tryGrow(bytes);
  });
  await intent?.outcome({
    status: answer.statusCode ?? 502,
    body,
    ...(isWhole ? {} : { isPartial: true }),
    ...(held.cut === undefined ? {} : { ended: held.cut }),
  });
  if (response.destroyed) {
    await pieces.return(undefined);
    return;
  }
  if (isWhole) {
    sendWhole(exchange, plan, answer, body);
    return;
  }
  response.writeHead(answer.statusCode ?? 502, plan.headers(answer));
  response.write(body);
  const { ended } = await sendPieces(held, exchange, plan, pieces);
  if (ended === undefined) response.end();
  else response.destroy();
}

function sendWhole({ request, response }: RequestExchange, plan: ForwardPlan, answer: IncomingMessage, body: Buffer) {
  const headers = plan.headers(answer);
  delete headers['content-length'];
  response.writeHead(answer.statusCode ?? 502, { ...headers, 'content-length': body.length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** The pieces of an answer. Only one that follows may be silent for long. */
function piecesOf({ signal }: Held, plan: ForwardPlan, answer: IncomingMessage): AsyncGenerator<Buffer> {
  return readPieces(answer, { signal, ...(plan.follows ? {} : { silenceMs: PAUSE_MS }) });
}

/**
 * Keeps an answer as long as `accepts` agrees to the size of each piece. The first piece that it
 * does not accept is the last one.
 */
async function readBeginning(
  plan: ForwardPlan,
  pieces: AsyncGenerator<Buffer>,
  accepts: (bytes: number) => boolean,
): Promise<{ readonly body: Buffer; readonly isWhole: boolean }> {
  const kept: Buffer[] = [];
  try {
    for (;;) {
      const next = await pieces.next();
      if (next.done === true) return { body: Buffer.concat(kept), isWhole: true };
      kept.push(next.value);
      if (!accepts(next.value.length)) return { body: Buffer.concat(kept), isWhole: false };
    }
  } catch (error) {
    await pieces.return(undefined);
    throw describeCut(plan, error);
  }
}

/** Forwards an answer as it arrives, no faster than the caller reads. */
async function stream({ held, exchange, plan, intent }: Forwarding, answer: IncomingMessage): Promise<void> {
  const { response } = exchange;
  const status = answer.statusCode ?? 502;
  response.writeHead(status, plan.headers(answer));
  // The first event of a watch may take long; the head shows the caller that the watch has begun.
  response.flushHeaders();
  const { bytesOut, ended } = await sendPieces(held, exchange, plan, piecesOf(held, plan, answer));
  await intent?.outcome({ status, bytesOut, ended: ended ?? `ended by ${plan.upstream}` });
  if (ended === undefined) response.end();
  else response.destroy();
}

/** Sends pieces to the caller. `ended` says why it stopped before the end. Never throws. */
async function sendPieces(
  held: Held,
  { response }: RequestExchange,
  plan: ForwardPlan,
  pieces: AsyncGenerator<Buffer>,
): Promise<{ readonly bytesOut: number; readonly ended: string | undefined }> {
  let bytesOut = 0;
  try {
    for await (const piece of pieces) {
      if (!held.isAlive()) throw new NoLease(held.cut ?? 'the lease ended');
      bytesOut += piece.length;
      if (!response.write(piece)) await drained(held, response, plan.follows);
    }
    return { bytesOut, ended: undefined };
  } catch (error) {
    return { bytesOut, ended: held.cut ?? errorMessage(describeCut(plan, error)) };
  }
}

/** Waits for a caller that is slower than the upstream. */
async function drained(held: Held, response: ServerResponse, follows: boolean): Promise<void> {
  const timer = follows ? undefined : setTimeout(() => held.end('the caller stopped reading'), PAUSE_MS);
  try {
    await once(response, 'drain', { signal: held.signal });
  } finally {
    clearTimeout(timer);
  }
}

/** The error for an answer that ended early; it names the upstream. */
function describeCut({ upstream }: ForwardPlan, error: unknown): unknown {
  if (error instanceof OplabError) return error;
  if (error instanceof TimedOut)
    return new UpstreamUnavailable(`${upstream} stopped sending before the end of its answer`, error);
  return new UpstreamUnavailable(`${upstream} closed the connection before the end of its answer`, error);
}
