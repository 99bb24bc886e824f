// Work that is done at intervals, and at once when something has changed.

import { setTimeout as sleep } from 'node:timers/promises';

export class HurriedLoop {
  #wake = new AbortController();

  /** Repeats soon. If the work is being done, then once more after it, as it may have looked before. */
  hurry(): void {
    this.#wake.abort();
  }

  /** Repeats the work until the signal aborts. @param intervalMs the pause between two times */
  async run(work: () => Promise<void>, intervalMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      await work();
      const wake = AbortSignal.any([signal, this.#wake.signal]);
      await sleep(intervalMs, undefined, { signal: wake, ref: false }).catch(() => {});
    }
  }
}
