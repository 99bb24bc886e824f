// Waits between tries: exponential, capped, with jitter so that clients do not retry in step.

export interface BackoffOptions {
  /** First delay in milliseconds. */
  readonly baseMs: number;
  /** Upper bound of a delay in milliseconds. */
  readonly maxMs: number;
}

/** For requests to a server that may be restarting. */
export const REQUEST_BACKOFF: BackoffOptions = { baseMs: 250, maxMs: 15_000 };

/**
 * The delay after the given number of consecutive failures (from 1), in milliseconds: between half
 * of the exponential step and the whole step.
 */
export function backoffMs(failures: number, options: BackoffOptions, random: () => number = Math.random): number {
  const step = Math.min(options.maxMs, options.baseMs * 2 ** Math.min(Math.max(0, failures - 1), 30));
  return step / 2 + (random() * step) / 2;
}

/**
 * Resolves after `ms`, or immediately when the signal aborts. Never rejects: the caller checks the
 * signal.
 */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
