// Evaluates CEL for checks off the main thread, with a time limit, and in turns by owner, so that a
// slow expression delays no check of anybody else.
//
// There are two threads. An owner of checks has a budget on the first one. What takes longer than
// the budget, and all that its owner asks for without budget, is evaluated on the second one, where
// an expression has its whole time limit.

import { CelBudget } from './cel-budget.ts';
import type { CelRequest, CelVariable } from './cel-protocol.ts';
import { type CelOutcome, CelThread } from './cel-thread.ts';
import { SlowExpressions } from './slow-expressions.ts';
import { Dropped, Turns } from './turns.ts';

/** The result of one evaluation. It is `passed` only for the boolean true. */
export type CelResult =
  | { readonly type: 'passed' }
  | { readonly type: 'failed'; readonly text: string }
  | { readonly type: 'error'; readonly message: string };

export interface CelOptions {
  /** Time limit of one evaluation in milliseconds. */
  readonly timeLimitMs?: number;
  /** For a process that evaluates for many owners: it does not wait for the start of a worker. */
  readonly hasSpare?: boolean;
}

/** An ordinary expression takes a few milliseconds; the rest is for a busy machine. */
const TIME_LIMIT_MS = 2000;
/** Less than this is not worth a start, in milliseconds. */
const LEAST_MS = 20;
/** The owner of checks that nobody else's compete with, as in the CLI. */
const NOBODY = '';

interface Lane {
  readonly thread: CelThread;
  readonly turns: Turns;
}

/** Evaluates for one owner. */
export type OwnCel = Pick<Cel, 'evaluate' | 'syntaxError'>;

export class Cel {
  readonly #timeLimitMs: number;
  readonly #slow = new SlowExpressions();
  readonly #budget = new CelBudget();
  readonly #shared: Lane;
  readonly #beyond: Lane = { thread: new CelThread(), turns: new Turns() };

  constructor(options: CelOptions = {}) {
    this.#timeLimitMs = options.timeLimitMs ?? TIME_LIMIT_MS;
    this.#shared = { thread: new CelThread({ hasSpare: options.hasSpare ?? false }), turns: new Turns() };
  }

  /**
   * What is wrong with an expression; undefined if it parses and can be true.
   * @param owner as for `evaluate`
   * @throws Error if the worker does not work
   */
  async syntaxError(expression: string, owner = NOBODY): Promise<string | undefined> {
    let answer = await this.#ask(owner, { expression });
    if (answer.type === 'too-slow') answer = await this.#ask(owner, { expression });
    if (answer.type === 'broken') throw new Error(answer.message);
    if (answer.type === 'too-slow') return `takes longer than ${this.#timeLimitMs} ms to parse; simplify it`;
    return answer.type === 'error' ? answer.message : undefined;
  }

  /** @param owner whose check it is: the namespace of its Incident or Monitor */
  async evaluate(
    expression: string,
    variables: Readonly<Record<string, CelVariable>>,
    owner = NOBODY,
  ): Promise<CelResult> {
    if (this.#slow.isRefused(owner, expression)) {
      return { type: 'error', message: `cel: takes longer than ${this.#timeLimitMs} ms; simplify the expression` };
    }
    const answer = await this.#ask(owner, { expression, variables });
    if (answer.type === 'too-slow') {
      this.#slow.add(owner, expression);
      return { type: 'error', message: `cel: took longer than ${this.#timeLimitMs} ms; simplify the expression` };
    }
    if (answer.type !== 'broken') this.#slow.forget(owner, expression);
    if (answer.type === 'error' || answer.type === 'broken')
      return { type: 'error', message: `cel: ${answer.message}` };
    if (answer.type === 'value') {
      return answer.isTrue ? { type: 'passed' } : { type: 'failed', text: answer.text };
    }
    return { type: 'error', message: 'cel: the evaluator returned no value' };
  }

  /** Evaluates for one owner. */
  for(owner: string | undefined): OwnCel {
    return {
      evaluate: (expression, variables) => this.evaluate(expression, variables, owner),
      syntaxError: (expression) => this.syntaxError(expression, owner),
    };
  }

  /** Ends the workers, and what waits for them. A later call starts others. */
  async close(): Promise<void> {
    this.#shared.turns.drop();
    this.#beyond.turns.drop();
    await Promise.all([this.#shared.thread.close(), this.#beyond.thread.close()]);
  }

  async #ask(owner: string, request: CelRequest): Promise<CelOutcome> {
    try {
      const { thread, turns } = this.#shared;
      // The budget is looked at when the turn has come: what waited before may have spent it.
      const answer = await turns.take(owner, async () => {
        const left = this.#budget.left(owner);
        if (left < LEAST_MS) return undefined;
        const limit = Math.min(left, this.#timeLimitMs);
        const { outcome, tookMs } = await thread.ask(request, limit);
        this.#budget.spend(owner, tookMs);
        return outcome.type === 'too-slow' && limit < this.#timeLimitMs ? undefined : outcome;
      });
      return answer ?? (await this.#askBeyond(owner, request));
    } catch (error) {
      if (error instanceof Dropped) return { type: 'broken', message: 'the evaluator was closed' };
      throw error;
    }
  }

  async #askBeyond(owner: string, request: CelRequest): Promise<CelOutcome> {
    const { thread, turns } = this.#beyond;
    return await turns.take(owner, async () => (await thread.ask(request, this.#timeLimitMs)).outcome);
  }
}
