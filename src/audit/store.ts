// The audit log on SQLite: a thin client in the caller's thread, and the writer in a worker thread.

import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { AuditConflict, AuditUnavailable, errorMessage, LimitReached, SessionSealed } from '../errors.ts';
import { DEFAULT_BLOB_CAP_BYTES } from './blob-cap.ts';
import type { LogLeaf, SignedNotes } from './checkpoint.ts';
import type { Entry, Receipt, RecordedEntry } from './entry.ts';
import type {
  AuditLog,
  Authorship,
  ClassSpending,
  Head,
  LogTree,
  ReadOptions,
  Reservation,
  Reservations,
  SessionSummary,
  SessionTree,
} from './log.ts';
import type { NotesState } from './log-tables.ts';
import { selectPrunable } from './prune.ts';
import { RawDigester } from './raw-digest.ts';
import { Redactor } from './redaction.ts';
import { DEFAULT_SESSION_LIMITS, type SessionLimits } from './session-quota.ts';
import type {
  AppendResult,
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

/** The number of appends that may wait for the disk. More are refused, to bound the memory used. */
const MAX_BACKLOG = 20_000;
/** How long to wait before a worker that died is restarted, in milliseconds. */
const RESTART_DELAY_MS = 1000;
/** The pause between two steps of pruning, in milliseconds. */
const PRUNE_PAUSE_MS = 5;

export interface OpenOptions {
  /** The SQLite file. It is created if it does not exist, but its directory must exist. */
  readonly path: string;
  /** Secrets that are already known. */
  readonly literals?: readonly string[];
  /** The cap on a blob in bytes. Default: 4 MiB. */
  readonly blobCapBytes?: number;
  /** How long to wait for another process to release the file, in milliseconds. */
  readonly busyTimeoutMs?: number;
  /** What each session may use on disk. Default: 64 MiB and 20,000 entries. */
  readonly limits?: SessionLimits;
  /** The key of the digests of raw texts. Without it, entries have only the lengths. */
  readonly digestKey?: Uint8Array;
  /** How long the redaction of one entry may take, in milliseconds. Default: 5 s. */
  readonly prepareLimitMs?: number;
}

/**
 * The log with redaction: the gateway adds secrets as they become known and redacts live output.
 */
export interface AuditStore extends AuditLog, Reservations, SessionTree {
  /** From now on, this value is redacted in new entries and by `redact`. */
  addSecret(literal: string): void;
  /** Removes secrets from a text that is shown but not stored, such as live output. */
  redact(text: string): string;
  /**
   * Calls the listener with the reason when the log stops accepting entries, or undefined when it
   * resumes.
   */
  onFailureChange(listener: (failure: LogFailure | undefined) => void): () => void;
  /**
   * Deletes sealed sessions without an entry since `before`, in steps, and leaves a tombstone of each.
   * Also finishes an earlier prune that was interrupted.
   * @returns the sessions that were deleted
   * @throws AuditUnavailable
   */
  prune(before: Date): Promise<SessionSummary[]>;
  /** The details of `failure`. */
  readonly failureDetails: LogFailure | undefined;
}

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
 * Opens the log with exclusive access. Creates the file if it does not exist.
 * @throws AuditUnavailable when the file is in use, corrupt, not an audit log, or cannot be written
 */
export async function openAuditLog(options: OpenOptions): Promise<AuditStore> {
  const store = new WorkerStore({
    path: options.path,
    literals: options.literals ?? [],
    blobCapBytes: options.blobCapBytes ?? DEFAULT_BLOB_CAP_BYTES,
    busyTimeoutMs: options.busyTimeoutMs ?? 5000,
    limits: options.limits ?? DEFAULT_SESSION_LIMITS,
    digestKey: options.digestKey,
    ...(options.prepareLimitMs === undefined ? {} : { prepareLimitMs: options.prepareLimitMs }),
  });
  await store.open();
  return store;
}

/**
 * In the source tree, the worker is a TypeScript file next to this one; in dist/, it is a bundle.
 */
function workerUrl(): URL {
  return import.meta.url.endsWith('.ts')
    ? new URL('./store-worker.ts', import.meta.url)
    : new URL('./store-worker.mjs', import.meta.url);
}

class WorkerStore implements AuditStore {
  readonly #options: StoreOptions;
  readonly #redactor: Redactor;
  readonly #literals: string[];
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
  readonly #listeners = new Set<(entry: Entry) => void>();
  readonly #failureListeners = new Set<(failure: LogFailure | undefined) => void>();
  readonly digester: RawDigester;
  #worker: Worker | undefined;
  #failure: LogFailure | undefined = failed(NOT_OPEN);
  #nextId = 1;
  #closing: Promise<void> | undefined;
  #pruning: Promise<unknown> = Promise.resolve();

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#literals = [...options.literals];
    this.#redactor = new Redactor(options.literals);
    this.digester = new RawDigester(options.digestKey);
  }

  get failure(): string | undefined {
    return this.#failure?.message;
  }

  get failureDetails(): LogFailure | undefined {
    return this.#failure;
  }

  /** Starts the worker. Resolves when the file is open. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(workerUrl(), {
        workerData: { ...this.#options, literals: this.#literals } satisfies StoreOptions,
        // The thread needs neither the process's flags nor its environment.
        execArgv: [],
        env: {},
        name: 'audit-log',
      });
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

  append(authorship: Authorship, entry: RecordedEntry): Promise<Receipt> {
    return this.#append(authorship, entry, false).then((result) => result.receipt);
  }

  async seal(authorship: Authorship, entry: RecordedEntry): Promise<{ entries: number; headHash: string }> {
    const { head } = await this.#append(authorship, entry, true);
    return { entries: head.entries, headHash: head.headHash };
  }

  #append(authorship: Authorship, entry: RecordedEntry, seal: boolean): Promise<AppendResult> {
    // While the volume is full, the writer decides which entries it accepts.
    if (this.#failure !== undefined && !this.#failure.acceptsClosing) {
      return Promise.reject(new AuditUnavailable(`the audit log cannot be written: ${this.#failure.message}`));
    }
    if (this.#pending.append.size >= MAX_BACKLOG) {
      return Promise.reject(
        new AuditUnavailable(
          `the audit log cannot keep up: ${MAX_BACKLOG} entries are waiting for the disk; try again`,
        ),
      );
    }
    const { session, attempt, writer } = authorship;
    return this.#ask('append', (id) => ({
      id,
      op: 'append',
      args: { authorship: { session, attempt, writer }, entry, seal },
    }));
  }

  head(session: string): Promise<Head | undefined> {
    return this.#ask('head', (id) => ({ id, op: 'head', args: { session } }));
  }

  read(session: string, options: ReadOptions = {}): Promise<Entry[]> {
    return this.#ask('read', (id) => ({ id, op: 'read', args: { session, options } }));
  }

  tail(session: string, count: number): Promise<Entry[]> {
    return this.#ask('tail', (id) => ({ id, op: 'tail', args: { session, count } }));
  }

  spendingSince(time: string): Promise<ClassSpending[]> {
    return this.#ask('spendingSince', (id) => ({ id, op: 'spendingSince', args: { time } }));
  }

  sessions(): Promise<SessionSummary[]> {
    return this.#ask('sessions', (id) => ({ id, op: 'sessions', args: undefined }));
  }

  blob(digest: string): Promise<string | undefined> {
    return this.#ask('blob', (id) => ({ id, op: 'blob', args: { digest } }));
  }

  async reserve({ session, attempt, clientKey, bound }: Reservation): Promise<void> {
    if (this.#failure !== undefined) {
      throw new AuditUnavailable(`the audit log cannot be written: ${this.#failure.message}`);
    }
    await this.#ask('reserve', (id) => ({ id, op: 'reserve', args: { session, attempt, clientKey, bound } }));
  }

  reservations(): Promise<Reservation[]> {
    return this.#ask('reservations', (id) => ({ id, op: 'reservations', args: undefined }));
  }

  tree(prefix: number): Promise<LogTree> {
    return this.#ask('tree', (id) => ({ id, op: 'tree', args: { prefix } }));
  }

  leaves(from: number, limit: number): Promise<LogLeaf[]> {
    return this.#ask('leaves', (id) => ({ id, op: 'leaves', args: { from, limit } }));
  }

  signedNotes(state: NotesState): Promise<SignedNotes | undefined> {
    return this.#ask('notes', (id) => ({ id, op: 'notes', args: { state } }));
  }

  async saveSignedNotes(state: NotesState, { checkpoint, heads }: SignedNotes): Promise<void> {
    await this.#ask('saveNotes', (id) => ({ id, op: 'saveNotes', args: { state, notes: { checkpoint, heads } } }));
  }

  prune(before: Date): Promise<SessionSummary[]> {
    // One at a time: a second one finds nothing left to do.
    const turn = this.#pruning.then(() => this.#prune(before));
    this.#pruning = turn.catch(() => undefined);
    return turn;
  }

  async #prune(before: Date): Promise<SessionSummary[]> {
    const pruned: SessionSummary[] = [];
    for (const summary of selectPrunable(await this.sessions(), before)) {
      if (await this.#ask('entomb', (id) => ({ id, op: 'entomb', args: { summary } }))) pruned.push(summary);
    }
    while (await this.#ask('pruneStep', (id) => ({ id, op: 'pruneStep', args: undefined }))) {
      // Appends that wait go first.
      await sleep(PRUNE_PAUSE_MS, undefined, { ref: false });
    }
    return pruned;
  }

  onAppend(listener: (entry: Entry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onFailureChange(listener: (failure: LogFailure | undefined) => void): () => void {
    this.#failureListeners.add(listener);
    return () => this.#failureListeners.delete(listener);
  }

  addSecret(literal: string): void {
    if (!this.#redactor.add(literal)) return;
    this.#literals.push(literal);
    this.#send({ op: 'literal', literal });
  }

  redact(text: string): string {
    return this.#redactor.text(text);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const worker = this.#worker;
    this.#setFailure(failed(CLOSED));
    if (worker === undefined) return;
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    await this.#ask('close', (id) => ({ id, op: 'close', args: undefined })).catch(() => undefined);
    await ended;
  }

  #send(request: StoreRequest): boolean {
    if (this.#worker === undefined) return false;
    this.#worker.postMessage(request);
    return true;
  }

  #ask<K extends OperationName>(
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
      if (reply.op === 'append' && reply.value.entry !== undefined) this.#announce(reply.value.entry);
    }
  }

  #settle<K extends OperationName>(reply: OperationResult<K>): void {
    const pending: Map<number, Pending<K>> = this.#pending[reply.op];
    pending.get(reply.id)?.resolve(reply.value);
    pending.delete(reply.id);
  }

  #announce(entry: Entry): void {
    for (const listener of this.#listeners) {
      try {
        listener(entry);
      } catch (error) {
        // A failing listener must not affect the writer.
        process.emitWarning(`a listener of the audit log failed: ${errorMessage(error)}`);
      }
    }
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
  #lost(worker: Worker, reason: string): void {
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
