// POST /v1/messages: checks a request against class and budget, forwards it with the gateway's key,
// and meters the answer.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { judgeModelError, MODEL_ERROR_FIX, oneLine } from '../../../api/model-error.ts';
import type { Price } from '../../../api/model-table.ts';
import { truncate } from '../../../api/truncate.ts';
import type { Reservations } from '../../../audit/log.ts';
import { AuditUnavailable, errorMessage, NoLease, NotAllowed, OplabError, SessionSealed } from '../../../errors.ts';
import { readAnswer } from '../../../net/answer-body.ts';
import { readBody } from '../../../net/http-answer.ts';
import { askedWaitMs } from '../../../net/retry.ts';
import { type Reservation as BudgetReservation, buildSpending, type Spending, usd } from '../../budget.ts';
import type { Concurrency } from '../../concurrency.ts';
import type { DayReservation } from '../../day-quota.ts';
import { type ModelTrouble, troubleOfStatus } from '../../model-troubles.ts';
import { costMicroUSD, type Prices, type Tokens } from '../../prices.ts';
import { BUDGET_LEFT_HEADER } from '../../protocol.ts';
import { type Caller, type GatewayContext, record } from '../door.ts';
import { askFor, chargedTokens, expectedTokens } from './call-charge.ts';
import { describeCut, describeTrouble, forwardStream, SILENCE_MS } from './forward-answer.ts';
import { estimatePrompt, type PromptParts, promptParts } from './prompt-estimate.ts';
import { type Admitted, admitRequest, checkBetas, shortened } from './request-policy.ts';
import { type ModelAPI, NoAnswer } from './upstream.ts';
import { messageMeter, type Seen, streamMeter } from './usage-meter.ts';

/** The API's own limit. */
const MAX_BODY = 32 * 1024 * 1024;

/** The caller's headers that are forwarded. All others are dropped. */
const REQUEST_HEADERS = ['anthropic-version', 'anthropic-beta', 'accept'] as const;
const RESPONSE_HEADERS = ['content-type', 'request-id', 'retry-after', 'retry-after-ms', 'x-should-retry'] as const;

export interface ModelDoor {
  readonly upstream: Pick<ModelAPI, 'send'>;
  readonly reservations: Pick<Reservations, 'reserve'>;
  /**
   * Whether the calls that an earlier gateway left unfinished are recorded and counted in the
   * budgets.
   */
  readonly isSettled: () => boolean;
  readonly prices: Prices;
  readonly concurrency: Concurrency;
}

const NOTHING: Seen = { tokens: undefined, complete: false, stopReason: undefined, outputBytes: 0, failed: false };

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
  /** The caller hung up, or its lease ended. */
  readonly isAbandoned: boolean;
  /** What is wrong, if it may pass. */
  readonly trouble?: ModelTrouble | undefined;
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
  #admitted: Admitted;
  readonly #price: Price;
  readonly #parts: PromptParts;
  /** Client key of the entry that will record how the call ended. */
  readonly #key = `model:${crypto.randomUUID()}`;
  #reservation: BudgetReservation | undefined;
  #dayReservation: DayReservation | undefined;
  #expected: Tokens | undefined;
  #sentAt = 0;

  constructor(gateway: GatewayContext, caller: Caller, admitted: Admitted, price: Price) {
    this.#gateway = gateway;
    this.#caller = caller;
    this.#admitted = admitted;
    this.#price = price;
    this.#parts = promptParts(admitted.request);
  }

  async reserve(): Promise<void> {
    const { lease } = this.#caller;
    const { request, body, cacheLife } = this.#admitted;
    const budget = await this.#gateway.budgets.of(lease.session);
    this.#sentAt = Date.now();
    const estimate = estimatePrompt({
      bytes: body.length,
      parts: this.#parts,
      cacheLife,
      seen: budget.seenPrompts.get(request.model),
      isAlone: budget.isIdle,
      now: this.#sentAt,
    });
    const bound = await budget.reserve(askFor(this.#price, this.#admitted, estimate), lease.limits);
    this.#reservation = bound;
    this.#expected = expectedTokens(estimate, cacheLife, bound.outputTokens);
    if (bound.outputTokens < request.max_tokens) this.#admitted = shortened(this.#admitted, bound.outputTokens);
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
    let isAbandoned = false;
    const hold = leases.hold(this.#caller.identity, 'reserved', (message) => {
      cut = `the lease ended: ${message}`;
      isAbandoned = true;
      stop.abort();
    });
    const hangUp = () => {
      cut ??= 'the agent hung up';
      isAbandoned = true;
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
    // If this process dies before the call ends, the next gateway charges what is reserved.
    try {
      const { session, attempt } = this.#caller.lease;
      const bound = this.#spending(this.#bound());
      await door.reservations.reserve({ session, attempt, clientKey: this.#key, bound });
    } catch (error) {
      hold.release();
      response.off('close', hangUp);
      this.#giveBack();
      throw error;
    }
    let upstream: IncomingMessage;
    try {
      const headers = Object.fromEntries(
        REQUEST_HEADERS.flatMap((name) => (request.headers[name] === undefined ? [] : [[name, request.headers[name]]])),
      );
      const call = {
        ...this.#admitted,
        beta: request.url?.endsWith('?beta=true') === true,
        // The body is ours, so what it is written in is, too.
        headers: { ...headers, 'content-type': 'application/json' },
      };
      upstream = await door.upstream.send(call, stop.signal);
    } catch (error) {
      // The head of a stream is sent before the model works, the head of other answers afterwards. A
      // caller that hangs up is charged in any case: otherwise it could call the model for nothing.
      const isSent = error instanceof NoAnswer && error.sent;
      const free = !isSent || (this.#admitted.request.stream === true && cut === undefined);
      hold.release();
      await this.#end(
        {
          ...{ status: null, seen: NOTHING, cut: cut ?? errorMessage(error), error: errorMessage(error) },
          ...{ free, isAbandoned, trouble: { reason: 'Unreachable', message: errorMessage(error) } },
        },
        started,
      );
      response.off('close', hangUp);
      if (cut !== undefined) response.destroy();
      else throw error;
      return;
    }
    const status = upstream.statusCode ?? 502;
    const requestId = shortTerm(header(upstream, 'request-id'));
    const firstByteMs = Math.round(performance.now() - started);
    const failed = status >= 300;
    const streamed = !failed && /^text\/event-stream\b/i.test(header(upstream, 'content-type') ?? '');
    const meter = streamed ? streamMeter() : messageMeter();
    const answerHeaders = Object.fromEntries(
      RESPONSE_HEADERS.flatMap((name) =>
        upstream.headers[name] === undefined ? [] : [[name, upstream.headers[name]]],
      ),
    );
    let whole: Buffer = Buffer.alloc(0);
    try {
      if (streamed) {
        response.writeHead(status, { ...answerHeaders, ...(await this.#left()), 'cache-control': 'no-store' });
        const { redact } = this.#gateway;
        const alive = () => hold.alive();
        await forwardStream(upstream, response, { meter, alive, redact, signal: stop.signal });
      } else {
        whole = await readAnswer(upstream, MAX_BODY, { wholeMs: SILENCE_MS, signal: stop.signal });
        meter.feed(whole);
      }
    } catch (error) {
      // The status of an error says what it is, whatever becomes of its body.
      if (!failed || isAbandoned) cut ??= describeCut(error);
    }
    hold.release();
    upstream.destroy();
    const read = failed ? NOTHING : meter.seen();
    const seen = { ...read, stopReason: shortTerm(read.stopReason) };
    const verdict = failed ? this.#judge(status, upstream, whole) : undefined;
    const ending: Ending = {
      ...{ status, seen, requestId, firstByteMs, free: failed, isAbandoned },
      trouble: verdict === undefined ? describeTrouble(seen, cut, this.#gateway.redact) : verdict.trouble,
      ...(cut === undefined ? {} : { cut }),
      ...(failed ? { error: oneLine(this.#gateway.redact(whole.toString('utf8', 0, 4096)), 512) } : {}),
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
    if (verdict?.refusal !== undefined) throw verdict.refusal;
    // What is no answer may repeat the request with its credential.
    const told = seen.complete ? whole : Buffer.from(this.#gateway.redact(whole.toString('utf8')));
    response.writeHead(status, { ...answerHeaders, ...(await this.#left()), 'content-length': told.length });
    response.end(told);
  }

  /** Whether an error passes; if not while the lease lives, the refusal that the caller gets instead of it. */
  #judge(status: number, upstream: IncomingMessage, whole: Buffer): { refusal?: OplabError; trouble?: ModelTrouble } {
    const shouldRetry = header(upstream, 'x-should-retry');
    const { redact } = this.#gateway;
    const { code, message: text } = judgeModelError({ status, body: whole.toString('utf8'), shouldRetry, redact });
    if (code !== undefined) {
      return { refusal: new OplabError(code, `${MODEL_ERROR_FIX[code]}; it says (${status}): ${text}`) };
    }
    const wait = askedWaitMs((name) => header(upstream, name)) ?? 0;
    if (wait <= this.#caller.lease.deadline - Date.now()) return { trouble: troubleOfStatus(status, text) };
    const tooLong = `the model API asks to wait for ${Math.round(wait / 1000)} s, longer than the Incident has left`;
    const fix = 'create the Incident again then, or raise the rate limit at the vendor';
    return { refusal: new OplabError('OPLAB_MODEL_ACCOUNT', `${tooLong}: ${fix}; it says (${status}): ${text}`) };
  }

  /** For the agent, how much of the limits was left before this call. */
  async #left(): Promise<Record<string, string>> {
    const { lease } = this.#caller;
    const { limit, share } = (await this.#gateway.budgets.of(lease.session)).left(lease.limits);
    return { [BUDGET_LEFT_HEADER]: `${Math.floor(share * 100)} ${limit}` };
  }

  /** The tokens that are reserved. */
  #bound(): Tokens {
    if (this.#expected === undefined) throw new Error('the call has no reservation');
    return this.#expected;
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
    const { metrics, logger, modelTroubles, status: statusWriter } = this.#gateway;
    const durationMs = Math.round(performance.now() - started);
    const { seen } = ending;
    const streamed = request.stream === true;
    const tokens = chargedTokens({ seen, streamed, free: ending.free }, this.#bound());
    // An answer that the API did not finish is none. One that the caller gave up is one.
    const turn = this.#admitted.turn && (seen.complete || ending.isAbandoned);
    const used = tokens === undefined ? undefined : this.#spending(tokens, turn);
    const cost = used?.costMicroUSD ?? 0;
    this.#reservation?.settle(used);
    // Nothing waits for a summary, or for an answer that nobody wants any more.
    if (this.#admitted.turn && !ending.isAbandoned) {
      if (ending.trouble === undefined) modelTroubles.clear(lease.session);
      else modelTroubles.note(lease.session, ending.trouble);
    }
    if (ending.seen.complete && tokens !== undefined) {
      const budget = await this.#gateway.budgets.of(lease.session);
      const cached = tokens.cacheReadTokens + tokens.cacheWriteTokens;
      budget.seenPrompts.set(model, {
        parts: this.#parts,
        tokens: tokens.inputTokens + cached,
        bytes: this.#admitted.body.length,
        sentAt: this.#sentAt,
        cacheLife: cached > 0 ? this.#admitted.cacheLife : 'none',
        inUS: tokens.inUS === true,
      });
    }
    const outcome = ending.status === null ? 'unreachable' : String(ending.status);
    metrics.modelCalls.inc({ model, status: outcome });
    metrics.modelSeconds.observe({ model }, durationMs / 1000);
    metrics.modelCostUSD.inc({ model }, cost / 1_000_000);
    const { requestId, error, cut, firstByteMs } = ending;
    const text = [
      `${model}: ${outcome}`,
      ...(tokens === undefined
        ? []
        : [
            `${tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens} tokens in, ${tokens.outputTokens} out`,
            usd(cost),
          ]),
      ...(seen.stopReason === undefined ? [] : [seen.stopReason]),
      ...(cut === undefined ? [] : [`cut off: ${cut}${tokens === undefined ? '' : ' (charged for what was seen)'}`]),
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

  #spending(tokens: Tokens, turn = this.#admitted.turn): Spending {
    const { request } = this.#admitted;
    return buildSpending(this.#caller.lease.class.name, request.model, turn, tokens, costMicroUSD(this.#price, tokens));
  }
}

function header(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** A word of the API in the record: nothing bounds what a server in front of it may say. */
function shortTerm(word: string | undefined): string | undefined {
  return word === undefined ? undefined : truncate(word, 128);
}
