// The budget of an Incident: what its model calls have cost, what is reserved for those under way, and when its limit is reached.

import { z } from 'zod';
import type { Usage } from '../api/incident.ts';
import type { Limits } from '../api/limits.ts';
import type { Entry } from '../audit/entry.ts';
import { lifecycleEvent } from '../audit/lifecycle.ts';
import type { AuditLog } from '../audit/log.ts';
import { LimitReached } from '../errors.ts';
import type { Limit } from './leases.ts';
import type { Tokens } from './prices.ts';

/** What a model call has used; the `params` of its audit entry carry it, and the budget is rebuilt from there. */
export const spending = z.object({
  model: z.string(),
  /** An answer of the agent's main model. */
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
const limitReachedParams = z.looseObject({ limit: z.enum(['turns', 'tokens', 'cost', 'time']) });

/** An upper bound of what a request may use. */
export interface Ask {
  readonly turn: boolean;
  readonly tokens: number;
  readonly costMicroUSD: number;
}

/** Reserved until it is settled; settling twice is harmless. */
export interface Reservation {
  /** Replaces the reservation by what was really used; undefined when nothing was. */
  settle(used: Spending | undefined): void;
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
  readonly #reserved = new Set<Ask>();
  #settled = Promise.withResolvers<void>();
  /** This process has put the limit that is reached on record, and in status. */
  isLimitReported = false;
  /** Bytes and prompt tokens of each model's last answer: how dense this session's text is. */
  readonly density = new Map<string, { readonly bytes: number; readonly tokens: number }>();

  get limitReached(): Limit | undefined {
    return this.#limitReached;
  }

  /** As it stands in status; the cost is rounded up. */
  usage(): Usage {
    return {
      turns: this.#turns,
      modelCalls: this.#modelCalls,
      inputTokens: this.#inputTokens,
      outputTokens: this.#outputTokens,
      cacheReadTokens: this.#cacheReadTokens,
      cacheWriteTokens: this.#cacheWriteTokens,
      costMilliUSD: Math.ceil(this.#costMicroUSD / 1000),
      ...(this.#limitReached === undefined ? {} : { limitReached: this.#limitReached }),
    };
  }

  /**
   * Reserves before forwarding. A request that only the reservations of others keep out waits until they are settled.
   * @throws LimitReached, and from then on its limit stays reached
   */
  async reserve(ask: Ask, limits: Limits): Promise<Reservation> {
    for (;;) {
      if (this.#limitReached !== undefined) throw this.reach(this.#limitReached, 'it was reached before');
      const spent = {
        turns: this.#turns,
        tokens: this.#inputTokens + this.#outputTokens + this.#cacheReadTokens + this.#cacheWriteTokens,
        cost: this.#costMicroUSD,
      };
      const wanted = { turns: ask.turn ? 1 : 0, tokens: ask.tokens, cost: ask.costMicroUSD };
      const most = { turns: limits.maxTurns, tokens: limits.maxTokens, cost: limits.maxCostMilliUSD * 1000 };
      const show = { turns: String, tokens: String, cost: usd };
      for (const limit of ['turns', 'tokens', 'cost'] as const) {
        if (spent[limit] + wanted[limit] <= most[limit]) continue;
        const print = show[limit];
        throw this.reach(
          limit,
          `${print(spent[limit])} of ${print(most[limit])} are used, this request may need ${print(wanted[limit])}`,
        );
      }
      const reserved = { turns: 0, tokens: 0, cost: 0 };
      for (const other of this.#reserved) {
        if (other.turn) reserved.turns += 1;
        reserved.tokens += other.tokens;
        reserved.cost += other.costMicroUSD;
      }
      const fits = (['turns', 'tokens', 'cost'] as const).every(
        (limit) => spent[limit] + reserved[limit] + wanted[limit] <= most[limit],
      );
      if (fits) break;
      await this.#settled.promise;
    }
    this.#reserved.add(ask);
    return {
      settle: (used) => {
        if (!this.#reserved.delete(ask)) return;
        if (used !== undefined) this.add(used);
        this.#settled.resolve();
        this.#settled = Promise.withResolvers();
      },
    };
  }

  /** Marks the first limit that refused something; later ones do not change the reason. */
  reach(limit: Limit, message: string): LimitReached {
    this.#limitReached ??= limit;
    return new LimitReached(limit, `the Incident's limit of ${limit} is reached: ${message}`);
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

  /** Takes an entry of the log into account that an earlier gateway wrote. */
  recall(entry: Pick<Entry, 'kind' | 'writer' | 'params'>): void {
    if (entry.writer !== 'gateway') return;
    if (entry.kind === 'model_call') {
      const used = spending.safeParse(entry.params);
      if (used.success) this.add(used.data);
    } else if (lifecycleEvent(entry) === LIMIT_REACHED_EVENT) {
      const reached = limitReachedParams.safeParse(entry.params);
      if (reached.success) this.#limitReached ??= reached.data.limit;
    }
  }
}

/** Dollars with as many digits as a model call needs. */
export function usd(microUSD: number): string {
  return `$${(microUSD / 1_000_000).toFixed(4)}`;
}

/** What an answer's tokens mean for the budget. */
export function spendingOf(model: string, turn: boolean, tokens: Tokens, costMicroUSD: number): Spending {
  const { inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens } = tokens;
  return { model, turn, inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costMicroUSD };
}

const PAGE = 1000;

/** The budgets of all sessions, each rebuilt from the log when it is first asked for. */
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

  /** The limit that a budget has run into, as far as it is loaded. */
  limitReached(session: string): Limit | undefined {
    return this.#budgets.get(session)?.limitReached;
  }

  /** Forgets the budget of a session that is over. */
  forget(session: string): void {
    this.#budgets.delete(session);
  }

  async #load(session: string): Promise<Budget> {
    const budget = new Budget();
    for (let afterSeq = 0; ; ) {
      const page = await this.#log.read(session, { afterSeq, limit: PAGE });
      for (const entry of page) budget.recall(entry);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      afterSeq = last.seq;
    }
    this.#budgets.set(session, budget);
    return budget;
  }
}
