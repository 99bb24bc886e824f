// Limits what each caller does per second, by refusing what is too much.

import { OverQuota } from '../errors.ts';

export interface Rate {
  /** What is counted, for messages: "requests". */
  readonly unit: string;
  readonly perSecond: number;
  /** How much a caller may do at once after a pause. */
  readonly burst: number;
}

/** What a caller had left at a time, in epoch milliseconds. Below zero, it has to wait. */
interface Balance {
  readonly left: number;
  readonly at: number;
}

/** The balance now. Pure. */
export function refill({ left, at }: Balance, now: number, { perSecond, burst }: Rate): Balance {
  return { left: Math.min(burst, left + (Math.max(0, now - at) / 1000) * perSecond), at: now };
}

/** Callers whose balance is kept, before those that have paused are forgotten. */
const MAX_KEPT = 1000;

export class RateLimit {
  readonly #rate: Rate;
  readonly #now: () => number;
  readonly #balances = new Map<string, Balance>();

  constructor(rate: Rate, now: () => number = Date.now) {
    this.#rate = rate;
    this.#now = now;
  }

  /**
   * Takes an amount. The last one may be larger than what is left, so that anything passes that is
   * not refused for another reason; the caller then waits for longer.
   * @throws OverQuota, which says when to try again
   */
  take(caller: string, amount = 1): void {
    const { perSecond, burst, unit } = this.#rate;
    const now = this.#now();
    const balance = refill(this.#balances.get(caller) ?? { left: burst, at: now }, now, this.#rate);
    if (balance.left <= 0) {
      const seconds = Math.max(1, Math.ceil(-balance.left / perSecond));
      throw new OverQuota(`this pod may use ${perSecond} ${unit} a second; try again in ${seconds} s`, seconds);
    }
    if (this.#balances.size >= MAX_KEPT) this.#forgetFull(now);
    this.#balances.set(caller, { left: balance.left - amount, at: now });
  }

  /** Takes an amount for something that was admitted already, and turned out to cost more. */
  charge(caller: string, amount: number): void {
    const now = this.#now();
    const { left } = refill(this.#balances.get(caller) ?? { left: this.#rate.burst, at: now }, now, this.#rate);
    this.#balances.set(caller, { left: left - amount, at: now });
  }

  #forgetFull(now: number): void {
    for (const [caller, balance] of this.#balances) {
      if (refill(balance, now, this.#rate).left >= this.#rate.burst) this.#balances.delete(caller);
    }
  }
}
