// The budget of an Incident: usage of its model calls, reservations, and which limit is reached.

import * as z from 'zod';
import type { Usage } from '../api/incident-status.ts';
import type { Limits } from '../api/limits.ts';
import type { Entry } from '../audit/entry.ts';
import { lifecycleEvent } from '../audit/lifecycle.ts';
import type { AuditLog } from '../audit/log.ts';
import { LimitReached } from '../errors.ts';
import { AGENT_RESUMED_EVENT, resumedParams } from './attempt-record.ts';
import type { SeenPrompt } from './doors/model/prompt-estimate.ts';
import type { Limit } from './leases.ts';
import type { Tokens } from './prices.ts';

/**
 * The usage of a model call. The `params` of its audit entry contain it, and budgets are rebuilt
 * from there.
 */
export const spending = z.object({
  /** The class of the attempt, for the quota of the day. Entries of older versions do not have it. */
  agentClass: z.string().default(''),
  model: z.string(),
  /** Whether it is an answer of the agent's main model. */
  turn: z.boolean(),
  inputTokens: z.number().int().min(0),
  outputTokens: z.number().int().min(0),
  cacheReadTokens: z.number().int().min(0),
  cacheWriteTokens: z.number().int().min(0),
  costMicroUSD: z.number().int().min(0),
});
export type Spending = z.infer<typeof spending>;

/** The event of the lifecycle entry that says which limit is reached. */
export const LIMIT_REACHED_EVENT = 'limit_reached';
const limitReachedParams = z.looseObject({ limit: z.enum(['turns', 'tokens', 'cost', 'time', 'record', 'day']) });

/** What a request may use. */
export interface Ask {
  readonly turn: boolean;
  /** Of the prompt, as far as they count towards the limit of tokens. */
  readonly promptTokens: number;
  readonly promptMicroUSD: number;
  /** The output that the request asks for, and the least that is of any use. */
  readonly outputTokens: number;
  readonly leastOutputTokens: number;
  /** Price of a token of output. */
  readonly outputMicroUSD: number;
}

/** What is reserved for a request. */
interface Reserved {
  readonly turn: boolean;
  readonly tokens: number;
  readonly costMicroUSD: number;
}

/** How much of a limit is left. */
export interface Left {
  readonly limit: 'turns' | 'tokens' | 'cost';
  /** From 0 to 1. */
  readonly share: number;
}

/** A reservation, which lasts until it is settled. Settling it twice is harmless. */
export interface Reservation extends Reserved {
  /** The output that fits, at most what was asked for. */
  readonly outputTokens: number;
  /** Replaces the reservation with the actual usage; undefined if nothing was used. */
  settle(used: Spending | undefined): void;
}

/** Of each limit that is counted. */
type Amounts = Record<(typeof COUNTED)[number], number>;
const COUNTED = ['turns', 'tokens', 'cost'] as const;

function mostOf({ maxTurns, maxTokens, maxCostMilliUSD }: Limits): Amounts {
  return { turns: maxTurns, tokens: maxTokens, cost: maxCostMilliUSD * 1000 };
}

export class Budget {
  #turns = 0;
  #modelCalls = 0;
  #inputTokens = 0;
  #outputTokens = 0;
  #cacheReadTokens = 0;
  #cacheWriteTokens = 0;
  #costMicroUSD = 0;
  #limitReached: Limit | undefined;
  /** The restarts of each attempt's agent. */
  readonly #restarts = new Map<number, number>();
  readonly #reserved = new Set<Reserved>();
  #settled = Promise.withResolvers<void>();
  /** Whether this process has recorded the reached limit and written it to the status. */
  isLimitReported = false;
  /** The last prompt that each model answered: what is sent again has no more tokens than that. */
  readonly seenPrompts = new Map<string, SeenPrompt>();

  get limitReached(): Limit | undefined {
    return this.#limitReached;
  }

  /** The usage for the status. The cost is rounded up. */
  usage(): Usage {
    return {
      turns: this.#turns,
      modelCalls: this.#modelCalls,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      cacheReadTokens: this.#cacheReadTokens,
      cacheWriteTokens: this.#cacheWriteTokens,
      costMilliUSD: Math.ceil(this.#costMicroUSD / 1000),
      ...(this.#restarts.size === 0
        ? {}
        : { agentRestarts: [...this.#restarts.values()].reduce((sum, one) => sum + one, 0) }),
      ...(this.#limitReached === undefined ? {} : { limitReached: this.#limitReached }),
    };
  }

  /** Whether a call of the session is in progress. */
  get isIdle(): boolean {
    return this.#reserved.size === 0;
  }

  /** The limit of which the smallest share is left. */
  left(limits: Limits): Left {
    const spent = this.#spent();
    const most = mostOf(limits);
    const shares = COUNTED.map((limit) => ({ limit, share: Math.max(0, 1 - spent[limit] / Math.max(1, most[limit])) }));
    return shares.reduce((least, one) => (one.share < least.share ? one : least));
  }

  #spent(): Amounts {
    const tokens = this.#inputTokens + this.#outputTokens + this.#cacheWriteTokens;
    return { turns: this.#turns, tokens, cost: this.#costMicroUSD };
  }

  /**
   * Reserves what a request may use. If its whole output does not fit, waits for other reservations to
   * be settled, and then reserves the output that fits.
   * @throws LimitReached if not even the least output fits; the limit then stays reached
   */
  async reserve(ask: Ask, limits: Limits): Promise<Reservation> {
    const most = mostOf(limits);
    for (;;) {
      if (this.#limitReached !== undefined) throw this.reach(this.#limitReached, 'an earlier request reached it');
      const spent = this.#spent();
      this.#requireRoom(ask, spent, most);
      const reserved: Amounts = { turns: 0, tokens: 0, cost: 0 };
      for (const other of this.#reserved) {
        if (other.turn) reserved.turns += 1;
        reserved.tokens += other.tokens;
        reserved.cost += other.costMicroUSD;
      }
      const left = (limit: keyof Amounts) => most[limit] - spent[limit] - reserved[limit];
      const outputTokens = Math.min(
        ask.outputTokens,
        left('tokens') - ask.promptTokens,
        ask.outputMicroUSD === 0
          ? Number.POSITIVE_INFINITY
          : Math.floor((left('cost') - ask.promptMicroUSD) / ask.outputMicroUSD),
      );
      // Room that is only reserved may become free. Alone, the least output fits, as was just required: the
      // rounding of a division decides nothing.
      if (this.#reserved.size === 0) return this.#add(ask, Math.max(ask.leastOutputTokens, outputTokens));
      const hasTurn = !ask.turn || left('turns') >= 1;
      if (hasTurn && left('cost') >= ask.promptMicroUSD && outputTokens >= ask.outputTokens) {
        return this.#add(ask, outputTokens);
      }
      await this.#settled.promise;
    }
  }

  /** @throws LimitReached if the request does not fit whatever becomes of the other reservations */
  #requireRoom(ask: Ask, spent: Amounts, most: Amounts): void {
    const wanted: Amounts = {
      turns: ask.turn ? 1 : 0,
      tokens: ask.promptTokens + ask.leastOutputTokens,
      cost: ask.promptMicroUSD + Math.ceil(ask.leastOutputTokens * ask.outputMicroUSD),
    };
    const show = { turns: String, tokens: String, cost: usd };
    for (const limit of COUNTED) {
      if (spent[limit] + wanted[limit] <= most[limit]) continue;
      const print = show[limit];
      throw this.reach(
        limit,
        `used ${print(spent[limit])} of ${print(most[limit])}, and this request needs ${print(wanted[limit])}`,
      );
    }
  }

  #add(ask: Ask, outputTokens: number): Reservation {
    const reserved: Reserved = {
      turn: ask.turn,
      tokens: ask.promptTokens + outputTokens,
      costMicroUSD: ask.promptMicroUSD + Math.ceil(outputTokens * ask.outputMicroUSD),
    };
    this.#reserved.add(reserved);
    return {
      ...reserved,
      outputTokens,
      settle: (used) => {
        if (!this.#reserved.delete(reserved)) return;
        if (used !== undefined) this.add(used);
        this.#settled.resolve();
        this.#settled = Promise.withResolvers();
      },
    };
  }

  /** Marks the first limit that caused a refusal. Later ones do not change it. */
  reach(limit: Limit, message: string): LimitReached {
    this.#limitReached ??= limit;
    return new LimitReached(limit, `the Incident's limit of ${limit} is reached: ${message}`);
  }

  /** The agent of an attempt was started again for the given time. */
  restarted(attempt: number, number: number): void {
    this.#restarts.set(attempt, Math.max(number, this.#restarts.get(attempt) ?? 0));
  }

  add(used: Spending): void {
    this.#modelCalls += 1;
    if (used.turn) this.#turns += 1;
    this.#inputTokens += used.inputTokens;
    this.#outputTokens += used.outputTokens;
    this.#cacheReadTokens += used.cacheReadTokens;
    this.#cacheWriteTokens += used.cacheWriteTokens;
    this.#costMicroUSD += used.costMicroUSD;
  }

  /** Applies an entry of the log when the budget is rebuilt. */
  replay(entry: Pick<Entry, 'kind' | 'writer' | 'params'>): void {
    if (entry.writer !== 'gateway') return;
    if (entry.kind === 'model_call') {
      const used = spending.safeParse(entry.params);
      if (used.success) this.add(used.data);
    } else if (lifecycleEvent(entry) === LIMIT_REACHED_EVENT) {
      const reached = limitReachedParams.safeParse(entry.params);
      if (reached.success) this.#limitReached ??= reached.data.limit;
    } else if (lifecycleEvent(entry) === AGENT_RESUMED_EVENT) {
      const resumed = resumedParams.safeParse(entry.params).data;
      if (resumed !== undefined) this.restarted(resumed.attempt, resumed.number);
    }
  }
}

/** Formats a cost in dollars with enough digits for one model call. */
export function usd(microUSD: number): string {
  return `$${(microUSD / 1_000_000).toFixed(4)}`;
}

/** Builds the spending of one answer from its tokens and cost. */
export function buildSpending(
  agentClass: string,
  model: string,
  turn: boolean,
  tokens: Tokens,
  costMicroUSD: number,
): Spending {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = tokens;
  return { agentClass, model, turn, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costMicroUSD };
}

const PAGE = 1000;

/** The budgets of all sessions. Each is rebuilt from the log on first use. */
export class Budgets {
  readonly #log: Pick<AuditLog, 'read'>;
  readonly #budgets = new Map<string, Budget>();
  readonly #loading = new Map<string, Promise<Budget>>();

  constructor(log: Pick<AuditLog, 'read'>) {
    this.#log = log;
  }

  async of(session: string): Promise<Budget> {
    const known = this.#budgets.get(session);
    if (known !== undefined) return known;
    let loading = this.#loading.get(session);
    if (loading === undefined) {
      loading = this.#load(session).finally(() => this.#loading.delete(session));
      this.#loading.set(session, loading);
    }
    return await loading;
  }

  /** The limit that a session's budget has reached; undefined if the budget is not loaded. */
  limitReached(session: string): Limit | undefined {
    return this.#budgets.get(session)?.limitReached;
  }

  /** Forgets the budget of a session, for example when its Incident was deleted. */
  forget(session: string): void {
    this.#budgets.delete(session);
  }

  async #load(session: string): Promise<Budget> {
    const budget = new Budget();
    for (let afterSeq = 0; ; ) {
      const page = await this.#log.read(session, { afterSeq, limit: PAGE });
      for (const entry of page) budget.replay(entry);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      afterSeq = last.seq;
    }
    this.#budgets.set(session, budget);
    return budget;
  }
}
