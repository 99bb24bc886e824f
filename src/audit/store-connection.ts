// The connection to the writer of the audit log in its worker thread: sends requests, matches replies
// to them, and starts the worker again when it dies.

import { Worker } from 'node:worker_threads';
import { AuditConflict, AuditUnavailable, errorMessage, LimitReached, SessionSealed } from '../errors.ts';
import type { Entry } from './entry.ts';
import { MAX_LITERALS } from './redaction.ts';
import type {
  LogFailure,
  OperationError,
  OperationName,
  OperationRequest,
  OperationResult,
  StoreOperations,
  StoreOptions,
  StoreReply,
  StoreRequest,
} from './store-protocol.ts';

/** How long to wait before a worker that died is restarted, in milliseconds. */
const RESTART_DELAY_MS = 1000;

const NOT_OPEN = 'the log is not open yet';
const CLOSED = 'the log is closed';

/** A failure in which nothing is accepted. */
function failed(message: string): LogFailure {
  return { message, isFull: false, acceptsClosing: false };
}

interface Pending<K extends OperationName> {
  resolve(value: StoreOperations[K]['result']): void;
  reject(error: Error): void;
}
type PendingByOperation = { [K in OperationName]: Map<number, Pending<K>> };

/**
 * In the source tree, the worker is a TypeScript file next to this one; in dist/, it is a bundle.
 */
function workerUrl(): URL {
  return import.meta.url.endsWith('.ts')
    ? new URL('./store-worker.ts', import.meta.url)
    : new URL('./store-worker.mjs', import.meta.url);
}

/** The other side: a worker thread, or for tests what behaves like one. */
export interface StoreThread {
  postMessage(request: StoreRequest): void;
  on(event: 'message', listener: (reply: StoreReply) => void): unknown;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  once(event: 'exit', listener: () => void): unknown;
}
export type StartThread = (options: StoreOptions) => StoreThread;

const startWorker: StartThread = (options) =>
  new Worker(workerUrl(), {
    workerData: options,
    // The thread needs neither the process's flags nor its environment.
    execArgv: [],
    env: {},
    name: 'audit-log',
  });

/** One open audit file. What is asked while the writer restarts is refused, and can be asked again. */
export class StoreConnection {
  readonly #options: StoreOptions;
  readonly #literals: string[];
  readonly #onAppended: (entry: Entry) => void;
  readonly #pending: PendingByOperation = {
    append: new Map(),
    head: new Map(),
    read: new Map(),
    tail: new Map(),
    sessions: new Map(),
    spendingSince: new Map(),
    blob: new Map(),
    reserve: new Map(),
    reservations: new Map(),
    entomb: new Map(),
    pruneStep: new Map(),
    tree: new Map(),
    leaves: new Map(),
    notes: new Map(),
    saveNotes: new Map(),
    close: new Map(),
  };
  readonly #failureListeners = new Set<(failure: LogFailure | undefined) => void>();
  readonly #startThread: StartThread;
  #worker: StoreThread | undefined;
  #failure: LogFailure | undefined = failed(NOT_OPEN);
  #nextId = 1;
  #closing: Promise<void> | undefined;

  /** @param onAppended called for each entry that is on disk, in order */
  constructor(options: StoreOptions, onAppended: (entry: Entry) => void, startThread: StartThread = startWorker) {
    this.#options = options;
    this.#startThread = startThread;
    this.#literals = [...options.literals];
    this.#onAppended = onAppended;
  }

  /** Why the log does not accept every entry; undefined while it does. */
  get failure(): LogFailure | undefined {
    return this.#failure;
  }

  /** The number of requests of this kind that are not answered yet. */
  waiting(op: OperationName): number {
    return this.#pending[op].size;
  }

  /** Starts the worker. Resolves when the file is open. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = this.#startThread({ ...this.#options, literals: this.#literals });
      this.#worker = worker;
      worker.on('message', (reply: StoreReply) => {
        if (reply.type === 'opened') {
          this.#setFailure(undefined);
          resolve();
        } else if (reply.type === 'refused') {
          this.#worker = undefined;
          reject(new AuditUnavailable(reply.message));
        } else {
          this.#receive(reply);
        }
      });
      worker.on('error', (error) => this.#lost(worker, errorMessage(error)));
      worker.on('exit', () => {
        this.#lost(worker, 'its thread ended');
        reject(new AuditUnavailable(`audit log ${this.#options.path} cannot be opened: its thread ended`));
      });
    });
  }

  onFailureChange(listener: (failure: LogFailure | undefined) => void): () => void {
    this.#failureListeners.add(listener);
    return () => this.#failureListeners.delete(listener);
  }

  /** From now on, the writer redacts this secret, also after it was started again. */
  addLiteral(literal: string): void {
    this.#literals.push(literal);
    if (this.#literals.length > MAX_LITERALS) this.#literals.shift();
    this.#send({ op: 'literal', literal });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const worker = this.#worker;
    this.#setFailure(failed(CLOSED));
    if (worker === undefined) return;
    const ended = new Promise((resolve) => worker.once('exit', () => resolve(undefined)));
    await this.ask('close', (id) => ({ id, op: 'close', args: undefined })).catch(() => undefined);
    await ended;
  }

  #send(request: StoreRequest): boolean {
    if (this.#worker === undefined) return false;
    this.#worker.postMessage(request);
    return true;
  }

  /** @throws AuditUnavailable when the worker ends before it answers */
  ask<K extends OperationName>(
    op: K,
    request: (id: number) => OperationRequest,
  ): Promise<StoreOperations[K]['result']> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const pending: Map<number, Pending<K>> = this.#pending[op];
      pending.set(id, { resolve, reject });
      if (!this.#send(request(id))) {
        pending.delete(id);
        reject(new AuditUnavailable(`the audit log is not open: ${this.#failure?.message ?? 'its thread ended'}`));
      }
    });
  }

  #receive(reply: Extract<StoreReply, { type: 'result' | 'error' | 'state' }>): void {
    if (reply.type === 'state') {
      this.#setFailure(reply.failure);
    } else if (reply.type === 'error') {
      const pending = this.#pending[reply.op];
      pending.get(reply.id)?.reject(toError(reply));
      pending.delete(reply.id);
    } else {
      this.#settle(reply);
      if (reply.op === 'append' && reply.value.entry !== undefined) this.#onAppended(reply.value.entry);
    }
  }

  #settle<K extends OperationName>(reply: OperationResult<K>): void {
    const pending: Map<number, Pending<K>> = this.#pending[reply.op];
    pending.get(reply.id)?.resolve(reply.value);
    pending.delete(reply.id);
  }

  #setFailure(failure: LogFailure | undefined): void {
    if (this.#closing !== undefined && failure === undefined) return;
    if (failure?.message === this.#failure?.message) return;
    this.#failure = failure;
    for (const listener of this.#failureListeners) listener(failure);
  }

  /**
   * The worker ended. It is unknown which of its requests were done, so callers retry with the same
   * keys.
   */
  #lost(worker: StoreThread, reason: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const error = new AuditUnavailable(`the audit log cannot be written: ${reason}`);
    for (const pending of Object.values(this.#pending)) {
      for (const { reject } of pending.values()) reject(error);
      pending.clear();
    }
    const wasOpen = this.#failure?.message !== NOT_OPEN;
    if (this.#closing !== undefined || !wasOpen) return;
    this.#setFailure(failed(reason));
    this.#restart();
  }

  #restart(): void {
    setTimeout(() => {
      if (this.#closing !== undefined) return;
      this.open().catch((error: unknown) => {
        this.#setFailure(failed(errorMessage(error)));
        this.#restart();
      });
    }, RESTART_DELAY_MS).unref();
  }
}

function toError(reply: OperationError): Error {
  switch (reply.code) {
    case 'OPLAB_AUDIT_CONFLICT':
      return new AuditConflict(reply.message);
    case 'OPLAB_SESSION_SEALED':
      return new SessionSealed(reply.message);
    case 'OPLAB_LIMIT_REACHED':
      return new LimitReached('record', reply.message);
    case 'OPLAB_AUDIT_UNAVAILABLE':
      return new AuditUnavailable(reply.message);
  }
}
