// A token bucket that limits writes per second over all Incidents, in request order.

import { setTimeout as sleep } from 'node:timers/promises';

export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #now: () => number;
  readonly #wait: (ms: number) => Promise<unknown>;
  #tokens: number;
  #filledAt: number;
  #queue: Promise<void> = Promise.resolve();

  /**
   * @param options.burst the number of tokens available at once after a pause; default: one
   * second's worth
   */
  constructor(
    perSecond: number,
    options: { burst?: number; now?: () => number; wait?: (ms: number) => Promise<unknown> } = {},
  ) {
    this.#perSecond = perSecond;
    this.#burst = Math.max(1, options.burst ?? perSecond);
    this.#now = options.now ?? (() => performance.now());
    this.#wait = options.wait ?? ((ms) => sleep(ms));
    this.#tokens = this.#burst;
    this.#filledAt = this.#now();
  }

  /** Takes one token. Resolves when it is available. */
  take(): Promise<void> {
    const turn = this.#queue.then(() => this.#takeNext());
    this.#queue = turn;
    return turn;
  }

  async #takeNext(): Promise<void> {
    for (;;) {
      const now = this.#now();
      this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond);
      this.#filledAt = now;
      // A sum of fractions may be slightly below one.
      if (this.#tokens >= 1 - 1e-9) {
        this.#tokens -= 1;
        return;
      }
      await this.#wait(Math.max(1, Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000)));
    }
  }
}
