// What each AgentClass has used since midnight UTC, and which calls still fit into its quota. The
// counts come from the audit log, so a restart does not reset them.

import { countedTokens } from '../api/incident-status.ts';
import { currentDayLimit, type DayLimit, type DayUsage, type Quota, utcDate } from '../api/quota.ts';
import type { Entry } from '../audit/entry.ts';
import type { AuditLog, ClassSpending } from '../audit/log.ts';
import { LimitReached } from '../errors.ts';
import { type Spending, spending, usd } from './budget.ts';

/** A class with the quota that is in force now. */
export interface QuotaClass {
  readonly name: string;
  readonly generation: number | undefined;
  readonly quota: Quota;
}

/** An upper bound on the usage of a call. */
interface Bound {
  readonly tokens: number;
  readonly costMicroUSD: number;
}

/** A reservation in the quota of a class. Releasing it twice is harmless. */
export interface DayReservation {
  /**
   * Ends the reservation after the call was recorded: its entry has been counted.
   * @param unrecorded the usage, if the entry could not be written
   */
  release(unrecorded?: Spending): void;
}

interface ClassDay {
  readonly spent: { tokens: number; costMicroUSD: number };
  readonly reserved: Set<Bound>;
  /** The last refusal. A change of the class makes it void. */
  refused: { readonly date: string; readonly limit: DayLimit; readonly generation: number | undefined } | undefined;
  released: PromiseWithResolvers<void>;
}

const LIMITS = ['cost', 'tokens'] as const satisfies readonly DayLimit[];

export class DayQuota {
  readonly #classes = new Map<string, ClassDay>();
  readonly #now: () => number;
  readonly #onChange: (agentClass: string, isUrgent: boolean) => void;
  #date: string;

  constructor(options: { now?: () => number; onChange?: (agentClass: string, isUrgent: boolean) => void } = {}) {
    this.#now = options.now ?? Date.now;
    this.#onChange = options.onChange ?? (() => {});
    this.#date = utcDate(this.#now());
  }

  /** Counts what the log already holds of today. Call it before the first entry of this process. */
  async load(log: Pick<AuditLog, 'spendingSince'>): Promise<void> {
    this.#turnDay();
    for (const used of await log.spendingSince(`${this.#date}T00:00:00.000Z`)) this.#add(used);
  }

  /** Counts an entry that was just appended. */
  record({ kind, writer, time, params }: Pick<Entry, 'kind' | 'writer' | 'time' | 'params'>): void {
    if (kind !== 'model_call' || writer !== 'gateway') return;
    this.#turnDay();
    if (time.slice(0, 10) !== this.#date) return;
    const used = spending.safeParse(params);
    if (used.success) this.#addSpending(used.data);
  }

  /** Restores a refusal from the status of the class, after a restart. */
  restore(agentClass: QuotaClass, day: DayUsage | undefined): void {
    const { name, generation } = agentClass;
    const limit = currentDayLimit(day, generation, this.#now());
    if (limit === undefined) return;
    this.#turnDay();
    this.#class(name).refused ??= { date: this.#date, limit, generation };
  }

  /**
   * Reserves the upper bound of a call. If it does not fit only because of other calls in progress,
   * waits until they have ended.
   * @throws LimitReached with the limit `day`
   */
  async reserve(agentClass: QuotaClass, bound: Bound): Promise<DayReservation> {
    const { name, quota } = agentClass;
    const state = this.#class(name);
    for (;;) {
      this.#turnDay();
      const { spent } = state;
      const most = { cost: quota.maxCostMilliUSDPerDay * 1000, tokens: quota.maxTokensPerDay };
      const wanted = { cost: bound.costMicroUSD, tokens: bound.tokens };
      const used = { cost: spent.costMicroUSD, tokens: spent.tokens };
      const reserved = { cost: 0, tokens: 0 };
      for (const other of state.reserved) {
        reserved.cost += other.costMicroUSD;
        reserved.tokens += other.tokens;
      }
      const over = LIMITS.find((limit) => used[limit] + wanted[limit] > most[limit]);
      if (over !== undefined) {
        state.refused = { date: this.#date, limit: over, generation: agentClass.generation };
        this.#onChange(name, true);
        const print = over === 'cost' ? usd : String;
        throw new LimitReached(
          'day',
          `the daily quota of AgentClass ${name} is reached: its Incidents used ${print(used[over])} of ${print(most[over])} on ${this.#date} (UTC), and this request may use up to ${print(wanted[over])}; wait for the next day, or raise spec.quota.${over === 'cost' ? 'maxCostMilliUSDPerDay' : 'maxTokensPerDay'}`,
        );
      }
      if (LIMITS.every((limit) => used[limit] + reserved[limit] + wanted[limit] <= most[limit])) break;
      await state.released.promise;
    }
    state.reserved.add(bound);
    return {
      release: (unrecorded) => {
        if (!state.reserved.delete(bound)) return;
        if (unrecorded !== undefined) {
          this.#turnDay();
          this.#addSpending(unrecorded);
        }
        state.released.resolve();
        state.released = Promise.withResolvers();
      },
    };
  }

  /** What the class has used today, for its status. The cost is rounded up. */
  usage({ name, generation, quota }: QuotaClass): DayUsage {
    this.#turnDay();
    const { spent, refused } = this.#class(name);
    const costMilliUSD = Math.ceil(spent.costMicroUSD / 1000);
    const isRefused = refused !== undefined && refused.date === this.#date && refused.generation === generation;
    let limitReached: DayLimit | undefined;
    if (isRefused) limitReached = refused.limit;
    else if (costMilliUSD >= quota.maxCostMilliUSDPerDay) limitReached = 'cost';
    else if (spent.tokens >= quota.maxTokensPerDay) limitReached = 'tokens';
    return {
      date: this.#date,
      costMilliUSD,
      tokens: spent.tokens,
      ...(limitReached === undefined ? {} : { limitReached }),
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  }

  #class(name: string): ClassDay {
    let state = this.#classes.get(name);
    if (state === undefined) {
      state = {
        spent: { tokens: 0, costMicroUSD: 0 },
        reserved: new Set(),
        refused: undefined,
        released: Promise.withResolvers(),
      };
      this.#classes.set(name, state);
    }
    return state;
  }

  #addSpending(used: Spending): void {
    if (used.agentClass === '') return;
    this.#add({ agentClass: used.agentClass, costMicroUSD: used.costMicroUSD, tokens: countedTokens(used) });
  }

  #add({ agentClass, costMicroUSD, tokens }: ClassSpending): void {
    const { spent } = this.#class(agentClass);
    spent.costMicroUSD += costMicroUSD;
    spent.tokens += tokens;
    this.#onChange(agentClass, false);
  }

  /** Calls in progress at midnight stay reserved, because their entries count for the new day. */
  #turnDay(): void {
    const date = utcDate(this.#now());
    if (date === this.#date) return;
    this.#date = date;
    for (const { spent } of this.#classes.values()) {
      spent.tokens = 0;
      spent.costMicroUSD = 0;
    }
  }
}
