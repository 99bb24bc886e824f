// One CEL worker thread: answers one request at a time, and is replaced when it takes too long.

import { Worker } from 'node:worker_threads';
import type { CelAnswer, CelRequest } from './cel-protocol.ts';

/** The answer of the worker, or why there is none: it was too slow, or it does not work. */
export type CelOutcome =
  | CelAnswer
  | { readonly type: 'too-slow' }
  | { readonly type: 'broken'; readonly message: string };

/** Time to load the library on a busy machine. It does not count against an expression. */
const START_LIMIT_MS = 20_000;
const MEMORY_LIMIT_MB = 128;

/** In the bundle the worker is an .mjs beside the process; in the source it is beside this file. */
const WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./cel-worker.ts', import.meta.url)
  : new URL('./cel-worker.mjs', import.meta.url);

export class CelThread {
  readonly #hasSpare: boolean;
  #worker: Promise<Worker> | undefined;
  /** Starts while the other one works, since on a busy machine a start takes seconds. */
  #spare: Promise<Worker> | undefined;

  /** @param options.hasSpare whether nobody may wait for the start of another worker */
  constructor(options: { hasSpare?: boolean } = {}) {
    this.#hasSpare = options.hasSpare ?? false;
  }

  /**
   * Asks the worker. One request at a time, so that exactly one expression causes a time-out.
   * @param limitMs the time limit, in milliseconds
   * @returns the outcome, and how long it took without the start of the worker, in milliseconds
   */
  async ask(request: CelRequest, limitMs: number): Promise<{ readonly outcome: CelOutcome; readonly tookMs: number }> {
    let worker: Worker;
    try {
      worker = await this.#start();
    } catch (error) {
      this.#worker = undefined;
      return { outcome: { type: 'broken', message: `the evaluator cannot start: ${String(error)}` }, tookMs: 0 };
    }
    const began = performance.now();
    const outcome = await new Promise<CelOutcome>((resolve) => {
      const finish = (answer: CelOutcome, broken: boolean) => {
        clearTimeout(timer);
        worker.off('message', onMessage);
        worker.off('error', onError);
        worker.off('exit', onExit);
        if (broken) {
          this.#worker = undefined;
          void worker.terminate();
        }
        resolve(answer);
      };
      const onMessage = (answer: CelAnswer) => finish(answer, false);
      const onError = (error: Error) =>
        finish({ type: 'broken', message: `the evaluator failed: ${error.message}` }, true);
      const onExit = () => finish({ type: 'broken', message: 'the evaluator exited' }, true);
      const timer = setTimeout(() => finish({ type: 'too-slow' }, true), limitMs);
      worker.on('message', onMessage);
      worker.on('error', onError);
      worker.on('exit', onExit);
      worker.postMessage(request);
    });
    return { outcome, tookMs: performance.now() - began };
  }

  /** Ends the workers. A later call starts others. */
  async close(): Promise<void> {
    const workers = [this.#worker, this.#spare];
    this.#worker = undefined;
    this.#spare = undefined;
    await Promise.all(workers.map(async (worker) => (await worker?.catch(() => undefined))?.terminate()));
  }

  #start(): Promise<Worker> {
    this.#worker ??= this.#spare ?? this.#startWorker();
    if (this.#spare === this.#worker) this.#spare = undefined;
    if (this.#hasSpare) this.#spare ??= this.#startWorker();
    return this.#worker;
  }

  #startWorker(): Promise<Worker> {
    const forget = () => {
      if (this.#worker === starting) this.#worker = undefined;
      if (this.#spare === starting) this.#spare = undefined;
    };
    const starting = startWorker(forget);
    // A spare that cannot start is tried again when it is needed.
    starting.catch(forget);
    return starting;
  }
}

/** @param onExit called when a worker that was ready exits, for whatever reason */
function startWorker(onExit: () => void): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER_URL, { resourceLimits: { maxOldGenerationSizeMb: MEMORY_LIMIT_MB } });
    worker.unref();
    const timer = setTimeout(() => {
      void worker.terminate();
      reject(new Error(`not ready within ${START_LIMIT_MS} ms`));
    }, START_LIMIT_MS);
    worker.once('message', () => {
      clearTimeout(timer);
      worker.once('exit', onExit);
      resolve(worker);
    });
    // Never removed: without a listener, a failure of the worker would end this process.
    worker.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
