// The writer's side of the thread that redacts long entries. Sessions take turns, an entry has a
// time limit, and the entries of a session stay in their order.

import { Worker } from 'node:worker_threads';
import { AuditUnavailable, errorMessage, type OplabError } from '../errors.ts';
import { FairQueue } from './fair-queue.ts';
import { type Preparation, type PreparedAppend, prepareWithoutText } from './prepare-append.ts';
import { MAX_LITERALS } from './redaction.ts';
import type { OperationRequest, StoreOptions } from './store-protocol.ts';

type AppendRequest = OperationRequest<'append'>;

export type PrepareOptions = Pick<StoreOptions, 'literals' | 'digestKey' | 'blobCapBytes'>;
export type PrepareRequest =
  | { readonly op: 'prepare'; readonly args: AppendRequest['args'] }
  | { readonly op: 'literal'; readonly literal: string };
/** The first message says that the thread is ready. */
export type PrepareReply = 'ready' | { readonly append: PreparedAppend } | { readonly error: string };

/** In the bundle the worker is an .mjs beside the process; in the source it is beside this file. */
const WORKER_URL = import.meta.url.endsWith('.ts')
  ? new URL('./prepare-worker.ts', import.meta.url)
  : new URL('./prepare-worker.mjs', import.meta.url);

export interface PrepareThreadOptions extends PrepareOptions {
  /** For an entry whose text cannot be redacted in time. */
  readonly preparation: Preparation;
  /** The time limit of one entry, in milliseconds. */
  readonly limitMs: number;
  /** Called for each entry, in the order of its session. */
  readonly onReady: (request: AppendRequest, append: PreparedAppend | OplabError) => void;
}

export class PrepareThread {
  readonly #options: PrepareThreadOptions;
  readonly #literals: string[];
  readonly #waiting = new FairQueue<AppendRequest>(
    ({ args }) => args.authorship.session,
    () => 1,
  );
  readonly #perSession = new Map<string, number>();
  #worker: Worker | undefined;
  #isReady = false;
  #current: { readonly request: AppendRequest; readonly timer: NodeJS.Timeout } | undefined;

  constructor(options: PrepareThreadOptions) {
    this.#options = options;
    this.#literals = [...options.literals];
  }

  /** Whether an entry of the session is not ready yet. */
  has(session: string): boolean {
    return this.#perSession.has(session);
  }

  /** The number of entries that are not ready yet. */
  get length(): number {
    return this.#waiting.length + (this.#current === undefined ? 0 : 1);
  }

  add(request: AppendRequest): void {
    const { session } = request.args.authorship;
    this.#perSession.set(session, (this.#perSession.get(session) ?? 0) + 1);
    this.#waiting.push(request);
    this.#next();
  }

  addLiteral(literal: string): void {
    this.#literals.push(literal);
    if (this.#literals.length > MAX_LITERALS) this.#literals.shift();
    this.#send({ op: 'literal', literal });
  }

  /** Ends the thread. What waits is dropped. */
  close(): void {
    clearTimeout(this.#current?.timer);
    void this.#worker?.terminate();
    this.#worker = undefined;
  }

  #send(request: PrepareRequest): void {
    this.#worker?.postMessage(request);
  }

  #next(): void {
    if (this.#current !== undefined || this.#waiting.length === 0) return;
    this.#worker ??= this.#start();
    // The start of the thread, which takes seconds on a busy machine, counts against no entry.
    if (!this.#isReady) return;
    const [request] = this.#waiting.take(1, Number.POSITIVE_INFINITY);
    if (request === undefined) return;
    const timer = setTimeout(() => this.#giveUp(request), this.#options.limitMs);
    this.#current = { request, timer };
    this.#send({ op: 'prepare', args: request.args });
  }

  #start(): Worker {
    const { digestKey, blobCapBytes } = this.#options;
    this.#isReady = false;
    const worker = new Worker(WORKER_URL, {
      workerData: { literals: this.#literals, digestKey, blobCapBytes } satisfies PrepareOptions,
      // The thread needs neither the process's flags nor its environment.
      execArgv: [],
      env: {},
      name: 'audit-redaction',
    });
    worker.on('message', (reply: PrepareReply) => {
      if (this.#worker !== worker) return;
      if (reply !== 'ready') return this.#finish('append' in reply ? reply.append : refusal(reply.error));
      this.#isReady = true;
      this.#next();
    });
    worker.on('error', (error) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      if (this.#current === undefined) this.#refuseAll(errorMessage(error));
      else this.#finish(refusal(errorMessage(error)));
    });
    return worker;
  }

  /** The thread cannot start. The next entry tries again. */
  #refuseAll(message: string): void {
    this.#perSession.clear();
    for (const request of this.#waiting.take(this.#waiting.length, Number.POSITIVE_INFINITY)) {
      this.#options.onReady(request, refusal(message));
    }
  }

  /** The thread is ended, because nothing else stops a regular expression. */
  #giveUp({ args }: AppendRequest): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
    this.#finish(prepareWithoutText(args.authorship, args.entry, args.seal, this.#options.preparation));
  }

  #finish(append: PreparedAppend | OplabError): void {
    const current = this.#current;
    if (current === undefined) return;
    clearTimeout(current.timer);
    this.#current = undefined;
    const { request } = current;
    const { session } = request.args.authorship;
    const left = (this.#perSession.get(session) ?? 1) - 1;
    if (left === 0) this.#perSession.delete(session);
    else this.#perSession.set(session, left);
    this.#options.onReady(request, append);
    this.#next();
  }
}

function refusal(message: string): AuditUnavailable {
  return new AuditUnavailable(`this entry cannot be recorded: ${message}`);
}
