// The CEL time of each owner of checks: what it may use on the thread that it shares with all.

/** In milliseconds. An ordinary expression takes a few. */
const BURST_MS = 500;
/** In milliseconds per second. */
const REFILL_MS = 50;
/** Owners that are remembered, before those with a full budget are forgotten. */
const MAX_KEPT = 1000;

/** What an owner had left at a time, in milliseconds. Below zero, it used more than it had. */
export interface Balance {
  readonly left: number;
  readonly at: number;
}

/** The balance now. Pure. */
export function refill({ left, at }: Balance, now: number): Balance {
  return { left: Math.min(BURST_MS, left + (Math.max(0, now - at) / 1000) * REFILL_MS), at: now };
}

export class CelBudget {
  readonly #now: () => number;
  readonly #balances = new Map<string, Balance>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** What an owner may use now, in milliseconds; zero or less if it has to wait. */
  left(owner: string): number {
    return this.#balance(owner).left;
  }

  spend(owner: string, ms: number): void {
    const { left, at } = this.#balance(owner);
    if (this.#balances.size >= MAX_KEPT) {
      for (const [other, balance] of this.#balances) {
        if (refill(balance, at).left >= BURST_MS) this.#balances.delete(other);
      }
    }
    this.#balances.set(owner, { left: left - ms, at });
  }

  #balance(owner: string): Balance {
    const now = this.#now();
    return refill(this.#balances.get(owner) ?? { left: BURST_MS, at: now }, now);
  }
}
