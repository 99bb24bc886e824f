// Forwards a request whose intent is recorded: sends it, answers the caller, records the outcome.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorMessage, NoLease, OplabError, TooLarge, UpstreamUnavailable } from '../../errors.ts';
import { BodyTooLarge, type ReadLimits, readAnswer, readPieces } from '../../net/answer-body.ts';
import type { Head, OutgoingRequest } from '../../net/request.ts';
import { TimedOut } from '../../net/timed-out.ts';
import type { Exchange, ForwardPlan, Intent } from './door.ts';
import type { Held } from './held-exchange.ts';

/** In bytes. Answers to writes are collected: the outcome is recorded before the caller sees it. */
const MAX_ANSWER = 64 * 1024 * 1024;
/**
 * The longest pause of an upstream that sends, and of a caller that reads, an answer that does not
 * follow. In milliseconds.
 */
const PAUSE_MS = 60_000;

type RequestExchange = Extract<Exchange, { type: 'request' }>;

/**
 * Forwards one request.
 * @param intent the recorded intent of a write
 * @returns the status of the answer
 * @throws if the request cannot be forwarded; the caller then got no answer, or a part of one
 */
export async function forwardRequest(
  held: Held,
  exchange: RequestExchange,
  plan: ForwardPlan,
  intent: Intent | undefined,
): Promise<number> {
  const outgoing = send(plan);
  const answer = await answeredBy(plan, outgoing, () => outgoing.receiveResponse(held.signal));
  const isCollected = (plan.writes && !plan.follows) || plan.reduce !== undefined;
  if (isCollected) await deliver(held, exchange, plan, intent, answer);
  else await stream(held, exchange, plan, intent, answer);
  return exchange.response.statusCode;
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

/** Collects the whole answer, records it, and then sends it to the caller. */
async function deliver(
  held: Held,
  { request, response }: RequestExchange,
  plan: ForwardPlan,
  intent: Intent | undefined,
  answer: IncomingMessage,
): Promise<void> {
  const status = answer.statusCode ?? 502;
  const whole = await readWhole(plan, answer, { silenceMs: PAUSE_MS, signal: held.signal });
  await intent?.outcome({ status, body: whole });
  const body = status === 200 ? (plan.reduce?.(whole) ?? whole) : whole;
  const headers = plan.headers(answer);
  delete headers['content-length'];
  response.writeHead(status, { ...headers, 'content-length': body.length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function readWhole(plan: ForwardPlan, answer: IncomingMessage, limits: ReadLimits): Promise<Buffer> {
  try {
    return await readAnswer(answer, MAX_ANSWER, limits);
  } catch (error) {
    if (error instanceof BodyTooLarge) throw new TooLarge(`the answer of ${plan.upstream} is too large`);
    throw describeCut(plan, error);
  }
}

/** Forwards an answer as it arrives, no faster than the caller reads. */
async function stream(
  held: Held,
  { response }: RequestExchange,
  plan: ForwardPlan,
  intent: Intent | undefined,
  answer: IncomingMessage,
): Promise<void> {
  const status = answer.statusCode ?? 502;
  const byUpstream = `ended by ${plan.upstream}`;
  response.writeHead(status, plan.headers(answer));
  // The first event of a watch may take long; the head shows the caller that the watch has begun.
  response.flushHeaders();
  let bytesOut = 0;
  let ended = byUpstream;
  const { signal } = held;
  try {
    for await (const piece of readPieces(answer, { signal, ...(plan.follows ? {} : { silenceMs: PAUSE_MS }) })) {
      if (!held.isAlive()) throw new NoLease(held.cut ?? 'the lease ended');
      bytesOut += piece.length;
      if (!response.write(piece)) await drained(held, response, plan.follows);
    }
  } catch (error) {
    ended = held.cut ?? errorMessage(describeCut(plan, error));
  }
  await intent?.outcome({ status, bytesOut, ended });
  if (ended === byUpstream) response.end();
  else response.destroy();
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
