// CEL for checks: parsed and evaluated in a worker thread that is killed and replaced when the time limit passes.

import { Worker } from 'node:worker_threads';
import type { CelAnswer, CelRequest, CelVariable } from './cel-protocol.ts';

/** The verdict on one expression. `passed` only for the boolean true. */
export type CelVerdict =
  | { readonly type: 'passed' }
  | { readonly type: 'failed'; readonly text: string }
  | { readonly type: 'error'; readonly message: string };

export interface CelOptions {
  /** Time limit of one evaluation in milliseconds. */
  readonly timeLimitMs?: number;
}

/** Any sane expression takes a few milliseconds; the rest is for a machine that has much else to do. */
const TIME_LIMIT_MS = 2000;
/** An expression that took too long twice in a row is not tried again for this long: it would hold all others up. */
const PENALTY_MS = 30_000;

/** Besides what the worker says: it took too long, or there is no worker to say anything. */
type Outcome = CelAnswer | { readonly type: 'too-slow' } | { readonly type: 'broken'; readonly message: string };

/** Loading the library on a busy machine; not part of an expression's time. */
const START_LIMIT_MS = 20_000;
const MEMORY_LIMIT_MB = 128;

/** In the bundle the worker lies beside the process as an .mjs; in source beside this file. */
const WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./cel-worker.ts', import.meta.url)
  : new URL('./cel-worker.mjs', import.meta.url);

export class Cel {
  readonly #timeLimitMs: number;
  /** Expressions that took too long: how often in a row, and until when they are not tried. */
  readonly #slow = new Map<string, { times: number; until: number }>();
  #worker: Promise<Worker> | undefined;
  /** One at a time, so that a time-out is the fault of exactly one expression. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CelOptions = {}) {
    this.#timeLimitMs = options.timeLimitMs ?? TIME_LIMIT_MS;
  }

  /** Undefined for an expression that parses and can be true, else what is wrong with it. @throws Error when nobody could tell */
  async syntaxError(expression: string): Promise<string | undefined> {
    let answer = await this.#ask({ expression });
    if (answer.type === 'too-slow') answer = await this.#ask({ expression });
    if (answer.type === 'broken') throw new Error(answer.message);
    if (answer.type === 'too-slow') return `takes longer than ${this.#timeLimitMs} ms to parse; simplify it`;
    return answer.type === 'error' ? answer.message : undefined;
  }

  async evaluate(expression: string, variables: Readonly<Record<string, CelVariable>>): Promise<CelVerdict> {
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
    return { type: 'error', message: 'cel: the evaluator gave no value' };
  }

  /** Ends the worker; a later call starts another. */
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
      return { type: 'broken', message: `the evaluator does not start: ${String(error)}` };
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
        finish({ type: 'broken', message: `the evaluator broke: ${error.message}` }, true);
      const onExit = () => finish({ type: 'broken', message: 'the evaluator ended' }, true);
      const timer = setTimeout(() => finish({ type: 'too-slow' }, true), this.#timeLimitMs);
      worker.on('message', onMessage);
      worker.on('error', onError);
      worker.on('exit', onExit);
      worker.postMessage(request);
    });
  }
}

/** @param onExit called when a worker that was ready has ended, for whatever reason */
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
    // Stays for the worker's whole life: without a listener its failure would end this process.
    worker.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
