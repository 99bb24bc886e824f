// Limits the concurrent requests of each caller, so that one pod cannot use up the gateway.

import { TooBusy } from '../errors.ts';

export class Concurrency {
  readonly #limit: number;
  readonly #inProgress = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Takes a place and returns a function that frees it, which may be called twice. @throws TooBusy
   */
  enter(caller: string): () => void {
    const count = this.#inProgress.get(caller) ?? 0;
    if (count >= this.#limit) throw new TooBusy(`this pod already has ${count} requests in progress; try again`);
    this.#inProgress.set(caller, count + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const now = (this.#inProgress.get(caller) ?? 1) - 1;
      if (now <= 0) this.#inProgress.delete(caller);
      else this.#inProgress.set(caller, now);
    };
  }

  /** The number of all requests in progress. */
  get total(): number {
    let total = 0;
    for (const count of this.#inProgress.values()) total += count;
    return total;
  }
}
