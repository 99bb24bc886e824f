// POST /v1/messages: checks a request against class and budget, forwards it with the gateway's key,
// and meters the answer.

import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Price } from '../../../api/model-table.ts';
import type { Reservations } from '../../../audit/log.ts';
import {
  AuditUnavailable,
  errorMessage,
  NoLease,
  NotAllowed,
  SessionSealed,
  UpstreamUnavailable,
} from '../../../errors.ts';
import { BodyTooLarge, CutOff, readAnswer, readPieces } from '../../../net/answer-body.ts';
import { readBody } from '../../../net/http-answer.ts';
import { TimedOut } from '../../../net/timed-out.ts';
import { type Reservation as BudgetReservation, buildSpending, type Spending, usd } from '../../budget.ts';
import type { Concurrency } from '../../concurrency.ts';
import type { DayReservation } from '../../day-quota.ts';
import { costBoundMicroUSD, costMicroUSD, type Prices, type Tokens } from '../../prices.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';
import { type PromptParts, promptParts, promptTokenBound } from './prompt-bound.ts';
import { type Admitted, admitRequest, checkBetas } from './request-policy.ts';
import { type ModelUpstream, NoAnswer } from './upstream.ts';
import { messageMeter, type Seen, streamMeter, type UsageMeter } from './usage-meter.ts';

/** The API's own limit. */
const MAX_BODY = 32 * 1024 * 1024;
/** A stream without any data for this long, not even a ping, is dead. In milliseconds. */
const SILENCE_MS = 180_000;
/** A caller that does not read for this long is considered disconnected. In milliseconds. */
const UNREAD_MS = 60_000;

/** The caller's headers that are forwarded. All others are dropped. */
const REQUEST_HEADERS = ['anthropic-version', 'anthropic-beta', 'accept'] as const;
const RESPONSE_HEADERS = ['content-type', 'request-id', 'retry-after', 'retry-after-ms', 'x-should-retry'] as const;

export interface ModelDoor {
  readonly upstream: Pick<ModelUpstream, 'send'>;
  readonly reservations: Pick<Reservations, 'reserve'>;
  /**
   * Whether the calls that an earlier gateway left unfinished are recorded and counted in the
   * budgets.
   */
  readonly isSettled: () => boolean;
  readonly prices: Prices;
  readonly concurrency: Concurrency;
}

/** How a call ended, for the log. */
interface Ending {
  readonly status: number | null;
  readonly seen: Seen;
  /** Why the answer is incomplete. */
  readonly cut?: string;
  readonly requestId?: string | undefined;
  readonly error?: string;
  readonly firstByteMs?: number;
  /** The model produced nothing, so nothing is charged. */
  readonly free: boolean;
}

/**
 * Answers one call. @throws NotAllowed, LimitReached, TooLarge, UpstreamUnavailable,
 * AuditUnavailable
 */
export async function postMessages(
  gateway: GatewayContext,
  door: ModelDoor,
  caller: Caller,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!door.isSettled()) throw new AuditUnavailable('calls of an earlier gateway are not recorded yet; try again');
  checkBetas(request.headers['anthropic-beta']);
  const body = await readBody(request, MAX_BODY, caller.memory.grow);
  const admitted = admitRequest(body, caller.lease.class);
  // Numbers such as 1e20 become longer.
  caller.memory.grow(Math.max(0, admitted.body.length - body.length));
  const { model } = admitted.request;
  const price = door.prices.get(model);
  if (price === undefined) {
    throw new NotAllowed(
      `model ${model} has no price, so its cost cannot be limited; add it to the gateway's price table`,
    );
  }
  const call = new Call(gateway, caller, admitted, price);
  await call.reserve();
  await call.forward(door, request, response);
}

/** One call: reserved, forwarded, settled, recorded. */
class Call {
  readonly #gateway: GatewayContext;
  readonly #caller: Caller;
  readonly #admitted: Admitted;
  readonly #price: Price;
  readonly #parts: PromptParts;
  /** Client key of the entry that will record how the call ended. */
  readonly #key = `model:${crypto.randomUUID()}`;
  #reservation: BudgetReservation | undefined;
  #dayReservation: DayReservation | undefined;
  #promptBound = 0;

  constructor(gateway: GatewayContext, caller: Caller, admitted: Admitted, price: Price) {
    this.#gateway = gateway;
    this.#caller = caller;
    this.#admitted = admitted;
    this.#price = price;
    this.#parts = promptParts(admitted.request);
  }

  async reserve(): Promise<void> {
    const { lease } = this.#caller;
    const { request, body, turn, cacheLife } = this.#admitted;
    const budget = await this.#gateway.budgets.of(lease.session);
    this.#promptBound = promptTokenBound(body.length, this.#parts, budget.seenPrompts.get(request.model));
    const outputTokens = request.max_tokens;
    const costMicroUSD = costBoundMicroUSD(this.#price, { promptTokens: this.#promptBound, outputTokens, cacheLife });
    const bound = { turn, tokens: this.#promptBound + outputTokens, costMicroUSD };
    this.#reservation = await budget.reserve(bound, lease.limits);
    try {
      const agentClass = this.#gateway.quotaClass(lease.class.name);
      this.#dayReservation = await this.#gateway.dayQuota.reserve(agentClass, bound);
    } catch (error) {
      this.#reservation.settle(undefined);
      throw error;
    }
  }

  async forward(door: ModelDoor, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { leases } = this.#gateway;
    const started = performance.now();
    const stop = new AbortController();
    let cut: string | undefined;
    const hold = leases.hold(this.#caller.identity, 'reserved', (message) => {
      cut = `the lease ended: ${message}`;
      stop.abort();
    });
    const hangUp = () => {
      cut ??= 'the agent hung up';
      stop.abort();
    };
    response.once('close', hangUp);
    // The caller may have left while the reservation waited for other calls.
    if (response.destroyed) hangUp();
    if (!hold.alive()) cut ??= 'the lease ended';
    if (cut !== undefined) {
      hold.release();
      this.#giveBack();
      throw new NoLease(cut);
    }
    // If this process dies before the call ends, the next gateway charges the upper bound.
    try {
      const { session, attempt } = this.#caller.lease;
      const bound = this.#spending(this.#atMost(undefined));
      await door.reservations.reserve({ session, attempt, clientKey: this.#key, bound });
    } catch (error) {
      hold.release();
      response.off('close', hangUp);
      this.#giveBack();
      throw error;
    }
    const nothing: Seen = { tokens: undefined, complete: false, stopReason: undefined };
    let upstream: IncomingMessage;
    try {
      const headers = Object.fromEntries(
        REQUEST_HEADERS.flatMap((name) => (request.headers[name] === undefined ? [] : [[name, request.headers[name]]])),
      );
      upstream = await door.upstream.send({
        beta: request.url?.endsWith('?beta=true') === true,
        // The body is ours, so what it is written in is, too.
        headers: { ...headers, 'content-type': 'application/json' },
        body: this.#admitted.body,
        signal: stop.signal,
      });
    } catch (error) {
      // The head of a stream is sent before the model works, the head of other answers afterwards. A
      // caller that hangs up is charged in any case: otherwise it could call the model for nothing.
      const isSent = error instanceof NoAnswer && error.sent;
      const free = !isSent || (this.#admitted.request.stream === true && cut === undefined);
      hold.release();
      await this.#end(
        { status: null, seen: nothing, cut: cut ?? errorMessage(error), error: errorMessage(error), free },
        started,
      );
      response.off('close', hangUp);
      if (cut !== undefined) response.destroy();
      else throw error;
      return;
    }
    const status = upstream.statusCode ?? 502;
    const requestId = header(upstream, 'request-id');
    const firstByteMs = Math.round(performance.now() - started);
    const streamed = status < 400 && (header(upstream, 'content-type') ?? '').startsWith('text/event-stream');
    const meter = streamed ? streamMeter() : messageMeter();
    const answerHeaders = Object.fromEntries(
      RESPONSE_HEADERS.flatMap((name) =>
        upstream.headers[name] === undefined ? [] : [[name, upstream.headers[name]]],
      ),
    );
    let whole: Buffer = Buffer.alloc(0);
    try {
      if (streamed) {
        response.writeHead(status, { ...answerHeaders, 'cache-control': 'no-store' });
        await forwardStream(upstream, response, meter, () => hold.alive(), stop.signal);
      } else {
        whole = await readAnswer(upstream, MAX_BODY, { wholeMs: SILENCE_MS, signal: stop.signal });
        meter.feed(whole);
      }
    } catch (error) {
      cut ??= describeCut(error);
    }
    hold.release();
    upstream.destroy();
    const failed = status >= 400;
    const ending: Ending = {
      status,
      seen: failed ? nothing : meter.seen(),
      requestId,
      firstByteMs,
      free: failed,
      ...(cut === undefined ? {} : { cut }),
      ...(failed ? { error: excerpt(whole) } : {}),
    };
    response.off('close', hangUp);
    // End the answer only after it is recorded, so that a caller that sees the end can rely on the
    // record.
    const recorded = await this.#end(ending, started);
    if (cut !== undefined || !recorded) {
      response.destroy();
      return;
    }
    if (streamed) {
      response.end();
      return;
    }
    if (status === 401 || status === 403) {
      // The model API refuses the gateway's key, so do not pass on a status that blames the caller.
      throw new UpstreamUnavailable(`the model API rejected the gateway's API key (${status}): ${excerpt(whole)}`);
    }
    response.writeHead(status, { ...answerHeaders, 'content-length': whole.length });
    response.end(whole);
  }

  /** Ends the reservations of a call that was not sent. */
  #giveBack(): void {
    this.#reservation?.settle(undefined);
    this.#dayReservation?.release();
  }

  /** Settles the budget and writes the entry. Returns false if the entry could not be written. */
  async #end(ending: Ending, started: number): Promise<boolean> {
    const { lease } = this.#caller;
    const { request } = this.#admitted;
    const { model } = request;
    const { metrics, logger, status: statusWriter } = this.#gateway;
    const durationMs = Math.round(performance.now() - started);
    const tokens = this.#charged(ending);
    const used = tokens === undefined ? undefined : this.#spending(tokens);
    const cost = used?.costMicroUSD ?? 0;
    this.#reservation?.settle(used);
    if (ending.seen.complete && tokens !== undefined) {
      const budget = await this.#gateway.budgets.of(lease.session);
      const prompt = tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens;
      budget.seenPrompts.set(model, { parts: this.#parts, tokens: prompt });
    }
    const outcome = ending.status === null ? 'unreachable' : String(ending.status);
    metrics.modelCalls.inc({ model, status: outcome });
    metrics.modelSeconds.observe({ model }, durationMs / 1000);
    metrics.modelCostUSD.inc({ model }, cost / 1_000_000);
    const { seen, requestId, error, cut, firstByteMs } = ending;
    const text = [
      `${model}: ${outcome}`,
      ...(tokens === undefined
        ? []
        : [
            `${tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens} tokens in, ${tokens.outputTokens} out`,
            usd(cost),
          ]),
      ...(seen.stopReason === undefined ? [] : [seen.stopReason]),
      ...(cut === undefined ? [] : [`cut off: ${cut}${tokens === undefined ? '' : ' (charged at its upper bound)'}`]),
      ...(error === undefined || error === cut ? [] : [error]),
    ].join(', ');
    try {
      await record(this.#gateway, lease, 'gateway', {
        clientKey: this.#key,
        kind: 'model_call',
        tool: model.slice(0, 128),
        // A call that used nothing has no spending, so rebuilding the budget skips it.
        params: {
          model,
          status: ending.status,
          ...(used ?? {}),
          stopReason: seen.stopReason ?? null,
          requestId: requestId ?? null,
          stream: request.stream === true,
          firstByteMs: firstByteMs ?? null,
          ...(cut === undefined ? {} : { cut }),
        },
        durationMs,
        content: text,
      });
      this.#dayReservation?.release();
      return true;
    } catch (failure) {
      this.#dayReservation?.release(used);
      if (failure instanceof SessionSealed) return false;
      logger.error({ session: lease.session, error: errorMessage(failure) }, 'a model call could not be recorded');
      return false;
    } finally {
      statusWriter.touch(lease.session);
    }
  }

  /** The tokens to charge: those in the answer, or the upper bound if the answer is incomplete. */
  #charged(ending: Ending): Tokens | undefined {
    if (ending.free) return undefined;
    const { tokens, complete } = ending.seen;
    return complete && tokens !== undefined ? tokens : this.#atMost(tokens);
  }

  /** The upper bound. @param tokens the tokens in the answer so far, if any */
  #atMost(tokens: Tokens | undefined): Tokens {
    const { request, cacheLife } = this.#admitted;
    const cached = cacheLife === 'none' ? 0 : this.#promptBound;
    const prompt = tokens ?? {
      inputTokens: this.#promptBound - cached,
      cacheReadTokens: 0,
      cacheWriteTokens: cached,
      cacheWrite1hTokens: cacheLife === '1h' ? cached : 0,
    };
    return { ...prompt, outputTokens: request.max_tokens };
  }

  #spending(tokens: Tokens): Spending {
    const { request, turn } = this.#admitted;
    return buildSpending(this.#caller.lease.class.name, request.model, turn, tokens, costMicroUSD(this.#price, tokens));
  }
}

function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function excerpt(body: Buffer): string {
  return body.toString('utf8', 0, 512).trim();
}

/** Forwards a stream piece by piece, no faster than the caller reads, while the lease is alive. */
async function forwardStream(
  from: IncomingMessage,
  to: ServerResponse,
  meter: UsageMeter,
  alive: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const piece of readPieces(from, { silenceMs: SILENCE_MS, signal })) {
    if (!alive()) throw new UpstreamUnavailable('the lease ended');
    meter.feed(piece);
    if (!to.write(piece)) {
      await once(to, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(UNREAD_MS)]) });
    }
  }
}

/** Says why there is no complete answer. */
function describeCut(error: unknown): string {
  if (error instanceof BodyTooLarge) return 'the answer of the model API is too large';
  if (error instanceof CutOff) return 'the model API closed the connection before the end of its answer';
  if (error instanceof TimedOut) return `the model API sent no data for ${SILENCE_MS / 1000} s`;
  return errorMessage(error);
}
