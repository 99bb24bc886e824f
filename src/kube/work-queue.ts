// A work queue of keys: no key twice at a time, no duplicates, delayed adds, retries with back-off.

import { errorMessage } from '../errors.ts';
import { type BackoffOptions, backoffMs } from '../net/retry.ts';
import { type Log, SILENT } from './log.ts';

export interface WorkQueueOptions {
  /**
   * Handles one key. Returns the milliseconds after which to requeue it, or undefined. A failure is
   * logged and retried.
   */
  readonly process: (key: string, signal: AbortSignal) => Promise<number | undefined>;
  /** Maximum number of keys that are handled at the same time. */
  readonly concurrency?: number;
  readonly backoff?: BackoffOptions;
  readonly logger?: Log;
}

const BACKOFF: BackoffOptions = { baseMs: 100, maxMs: 30_000 };

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #log: Log;
  readonly #ready: string[] = [];
  readonly #queued = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  /** Keys that were added while they ran. They run once more. */
  readonly #again = new Set<string>();
  readonly #delayed = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  readonly #failures = new Map<string, number>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#log = options.logger ?? SILENT;
  }

  /** Handles keys until the signal aborts. Resolves when those that run have ended. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    this.#dispatch();
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    await Promise.all(this.#running.values());
  }

  add(key: string): void {
    const delayed = this.#delayed.get(key);
    if (delayed !== undefined) {
      clearTimeout(delayed.timer);
      this.#delayed.delete(key);
    }
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    if (this.#queued.has(key)) return;
    this.#queued.add(key);
    this.#ready.push(key);
    this.#dispatch();
  }

  /** Adds the key after `ms`. If a key has several delayed adds, the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (ms <= 0) {
      this.add(key);
      return;
    }
    if (this.#signal?.aborted) return;
    const at = Date.now() + ms;
    const known = this.#delayed.get(key);
    if (known !== undefined) {
      if (known.at <= at) return;
      clearTimeout(known.timer);
    }
    const timer = setTimeout(
      () => {
        this.#delayed.delete(key);
        this.add(key);
      },
      Math.min(ms, 2 ** 31 - 1),
    );
    this.#delayed.set(key, { at, timer });
  }

  /** The number of keys that wait or run, for metrics. */
  get depth(): number {
    return this.#ready.length + this.#running.size;
  }

  #dispatch(): void {
    const signal = this.#signal;
    if (signal === undefined) return;
    while (!signal.aborted && this.#running.size < (this.#options.concurrency ?? 4)) {
      const key = this.#ready.shift();
      if (key === undefined) return;
      this.#queued.delete(key);
      this.#running.set(
        key,
        this.#handle(key, signal).finally(() => {
          this.#running.delete(key);
          if (this.#again.delete(key)) this.add(key);
          this.#dispatch();
        }),
      );
    }
  }

  async #handle(key: string, signal: AbortSignal): Promise<void> {
    // Yields first, so that the promise is in #running before the handler can add its own key.
    await Promise.resolve();
    try {
      const after = await this.#options.process(key, signal);
      this.#failures.delete(key);
      if (after !== undefined && !signal.aborted) this.addAfter(key, Math.max(1, after));
    } catch (error) {
      if (signal.aborted) return;
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      const delay = backoffMs(failures, this.#options.backoff ?? BACKOFF);
      this.#log.warn({ key, failures, error: errorMessage(error) }, 'reconcile failed: trying again');
      this.addAfter(key, delay);
    }
  }
}
