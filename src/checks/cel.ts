// Evaluates CEL for checks in a worker thread, which is killed and replaced after the time limit.

import { Worker } from 'node:worker_threads';
import type { CelAnswer, CelRequest, CelVariable } from './cel-protocol.ts';

/** The result of one evaluation. It is `passed` only for the boolean true. */
export type CelResult =
  | { readonly type: 'passed' }
  | { readonly type: 'failed'; readonly text: string }
  | { readonly type: 'error'; readonly message: string };

export interface CelOptions {
  /** Time limit of one evaluation in milliseconds. */
  readonly timeLimitMs?: number;
}

/** An ordinary expression takes a few milliseconds; the rest is for a busy machine. */
const TIME_LIMIT_MS = 2000;
/**
 * How long an expression that was too slow twice in a row is not evaluated: it would delay all
 * others.
 */
const PENALTY_MS = 30_000;

/** The answer of the worker, or why there is none: it was too slow, or it does not work. */
type Outcome = CelAnswer | { readonly type: 'too-slow' } | { readonly type: 'broken'; readonly message: string };

/** Time to load the library on a busy machine. It does not count against an expression. */
const START_LIMIT_MS = 20_000;
const MEMORY_LIMIT_MB = 128;

/** In the bundle the worker is an .mjs beside the process; in the source it is beside this file. */
const WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./cel-worker.ts', import.meta.url)
  : new URL('./cel-worker.mjs', import.meta.url);

export class Cel {
  readonly #timeLimitMs: number;
  /** Expressions that were too slow: how often in a row, and until when they are not evaluated. */
  readonly #slow = new Map<string, { times: number; until: number }>();
  #worker: Promise<Worker> | undefined;
  /** One evaluation at a time, so that exactly one expression causes a time-out. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CelOptions = {}) {
    this.#timeLimitMs = options.timeLimitMs ?? TIME_LIMIT_MS;
  }

  /**
   * What is wrong with an expression; undefined if it parses and can be true.
   * @throws Error if the worker does not work
   */
  async syntaxError(expression: string): Promise<string | undefined> {
    let answer = await this.#ask({ expression });
    if (answer.type === 'too-slow') answer = await this.#ask({ expression });
    if (answer.type === 'broken') throw new Error(answer.message);
    if (answer.type === 'too-slow') return `takes longer than ${this.#timeLimitMs} ms to parse; simplify it`;
    return answer.type === 'error' ? answer.message : undefined;
  }

  async evaluate(expression: string, variables: Readonly<Record<string, CelVariable>>): Promise<CelResult> {
    const known = this.#slow.get(expression);
    if (known !== undefined && Date.now() < known.until) {
      return { type: 'error', message: `cel: takes longer than ${this.#timeLimitMs} ms; simplify the expression` };
    }
    const answer = await this.#ask({ expression, variables });
    if (answer.type !== 'too-slow') this.#slow.delete(expression);
    else {
      const times = (known?.times ?? 0) + 1;
      this.#slow.set(expression, { times, until: times > 1 ? Date.now() + PENALTY_MS : 0 });
      return { type: 'error', message: `cel: took longer than ${this.#timeLimitMs} ms; simplify the expression` };
    }
    if (answer.type === 'error' || answer.type === 'broken')
      return { type: 'error', message: `cel: ${answer.message}` };
    if (answer.type === 'value') {
      return answer.isTrue ? { type: 'passed' } : { type: 'failed', text: answer.text };
    }
    return { type: 'error', message: 'cel: the evaluator returned no value' };
  }

  /** Ends the worker. A later call starts another one. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await (await worker?.catch(() => undefined))?.terminate();
  }

  #ask(request: CelRequest): Promise<Outcome> {
    const answer = this.#turn.then(() => this.#exchange(request));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #exchange(request: CelRequest): Promise<Outcome> {
    let worker: Worker;
    try {
      if (this.#worker === undefined) {
        const starting = startWorker(() => {
          if (this.#worker === starting) this.#worker = undefined;
        });
        this.#worker = starting;
      }
      worker = await this.#worker;
    } catch (error) {
      this.#worker = undefined;
      return { type: 'broken', message: `the evaluator cannot start: ${String(error)}` };
    }
    return await new Promise<Outcome>((resolve) => {
      const finish = (answer: Outcome, broken: boolean) => {
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
      const timer = setTimeout(() => finish({ type: 'too-slow' }, true), this.#timeLimitMs);
      worker.on('message', onMessage);
      worker.on('error', onError);
      worker.on('exit', onExit);
      worker.postMessage(request);
    });
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
