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
 * The wait that an answer asks for, in milliseconds, by `retry-after-ms` or else `retry-after`: seconds,
 * or a date. Undefined if it asks for none that can be read.
 */
export function askedWaitMs(header: (name: string) => string | null | undefined, now = Date.now()): number | undefined {
  const milliseconds = amount(header('retry-after-ms'));
  if (milliseconds !== undefined) return milliseconds;
  const after = header('retry-after');
  const seconds = amount(after);
  if (seconds !== undefined) return seconds * 1000;
  // Only the dates of HTTP: others, such as `-1`, are years to the parser.
  const date = /^[A-Z][a-z]{2,8}, /.test(after ?? '') ? Date.parse(after ?? '') : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function amount(text: string | null | undefined): number | undefined {
  return /^\s*\d+(?:\.\d+)?\s*$/.test(text ?? '') ? Number(text) : undefined;
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
    // A longer timer would fire at once.
    const timer = setTimeout(done, Math.min(ms, 2 ** 31 - 1));
    signal.addEventListener('abort', done, { once: true });
  });
}
