// For tests: waiting until something holds.

import { setTimeout as sleep } from 'node:timers/promises';

export interface Patience {
  /** What is waited for, for the error; by default the probe's own text. */
  readonly what?: string;
  readonly withinMs?: number;
  /** The pause between two probes: longer where a probe is dear. */
  readonly everyMs?: number;
}

/**
 * Probes until there is a value other than undefined and false, and returns it. A probe that throws
 * has not found anything yet.
 * @throws Error when time is up, with the last error of the probe as its cause
 */
export async function eventually<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  { what = probe.toString(), withinMs = 30_000, everyMs = 25 }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    let cause: unknown;
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      const why = cause instanceof Error ? `; the last probe failed: ${cause.message}` : '';
      throw new Error(`not within ${withinMs} ms: ${what}${why}`, { cause });
    }
    await sleep(everyMs);
  }
}
