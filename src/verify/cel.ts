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

const TIME_LIMIT_MS = 500;
/** Loading the library on a busy machine; not part of an expression's time. */
const START_LIMIT_MS = 20_000;
const MEMORY_LIMIT_MB = 128;

/** In the bundle the worker lies beside the process as an .mjs; in source beside this file. */
const WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./cel-worker.ts', import.meta.url)
  : new URL('./cel-worker.mjs', import.meta.url);

export class Cel {
  readonly #timeLimitMs: number;
  #worker: Promise<Worker> | undefined;
  /** One at a time, so that a time-out is the fault of exactly one expression. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CelOptions = {}) {
    this.#timeLimitMs = options.timeLimitMs ?? TIME_LIMIT_MS;
  }

  /** Undefined for an expression that parses, else what is wrong with it. */
  async syntaxError(expression: string): Promise<string | undefined> {
    const answer = await this.#ask({ expression });
    return answer.type === 'error' ? answer.message : undefined;
  }

  async evaluate(expression: string, variables: Readonly<Record<string, CelVariable>>): Promise<CelVerdict> {
    const answer = await this.#ask({ expression, variables });
    if (answer.type === 'error') return { type: 'error', message: `cel: ${answer.message}` };
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

  #ask(request: CelRequest): Promise<CelAnswer> {
    const answer = this.#turn.then(() => this.#exchange(request));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #exchange(request: CelRequest): Promise<CelAnswer> {
    let worker: Worker;
    try {
      this.#worker ??= startWorker();
      worker = await this.#worker;
    } catch (error) {
      this.#worker = undefined;
      return { type: 'error', message: `the evaluator does not start: ${String(error)}` };
    }
    return await new Promise<CelAnswer>((resolve) => {
      const finish = (answer: CelAnswer, broken: boolean) => {
        clearTimeout(timer);
        worker.off('message', onMessage);
        worker.off('error', onError);
        worker.off('exit', onExit);
        if (broken) {
          this.#worker = undefined;
          worker.on('error', () => {});
          void worker.terminate();
        }
        resolve(answer);
      };
      const onMessage = (answer: CelAnswer) => finish(answer, false);
      const onError = (error: Error) =>
        finish({ type: 'error', message: `the evaluator broke: ${error.message}` }, true);
      const onExit = () => finish({ type: 'error', message: 'the evaluator ended' }, true);
      const timer = setTimeout(
        () =>
          finish({ type: 'error', message: `took longer than ${this.#timeLimitMs} ms; simplify the expression` }, true),
        this.#timeLimitMs,
      );
      worker.on('message', onMessage);
      worker.on('error', onError);
      worker.on('exit', onExit);
      worker.postMessage(request);
    });
  }
}

function startWorker(): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER_URL, { resourceLimits: { maxOldGenerationSizeMb: MEMORY_LIMIT_MB } });
    worker.unref();
    const timer = setTimeout(() => {
      void worker.terminate();
      reject(new Error(`not ready within ${START_LIMIT_MS} ms`));
    }, START_LIMIT_MS);
    worker.once('message', () => {
      clearTimeout(timer);
      worker.removeAllListeners('error');
      resolve(worker);
    });
    worker.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}
