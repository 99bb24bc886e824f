// How many requests of one caller may be under way at once, so that one pod cannot take all of the gateway.

import { TooBusy } from '../errors.ts';

export class Concurrency {
  readonly #limit: number;
  readonly #underWay = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a place and returns what gives it back; calling that twice is harmless. @throws TooBusy */
  enter(caller: string): () => void {
    const count = this.#underWay.get(caller) ?? 0;
    if (count >= this.#limit) throw new TooBusy(`${count} requests of this pod are under way already; try again`);
    this.#underWay.set(caller, count + 1);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const now = (this.#underWay.get(caller) ?? 1) - 1;
      if (now <= 0) this.#underWay.delete(caller);
      else this.#underWay.set(caller, now);
    };
  }

  /** All requests under way. */
  get total(): number {
    let total = 0;
    for (const count of this.#underWay.values()) total += count;
    return total;
  }
}
