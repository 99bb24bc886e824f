// A token bucket: so many writes per second over all Incidents, handed out in the order in which they were asked for.

import { setTimeout as sleep } from 'node:timers/promises';

export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #now: () => number;
  readonly #wait: (ms: number) => Promise<unknown>;
  #tokens: number;
  #filledAt: number;
  #queue: Promise<void> = Promise.resolve();

  /** @param burst how many may go at once after a rest; default: a second's worth */
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

  /** Resolves when one token is taken. */
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
      // A sum of fractions may stay a hair below one.
      if (this.#tokens >= 1 - 1e-9) {
        this.#tokens -= 1;
        return;
      }
      await this.#wait(Math.max(1, Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000)));
    }
  }
}
