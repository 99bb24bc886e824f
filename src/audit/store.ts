// The audit log for the gateway's own thread. The writer and its file are in a worker thread.

import { setTimeout as sleep } from 'node:timers/promises';
import { AuditUnavailable, errorMessage } from '../errors.ts';
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
import { type StartThread, StoreConnection } from './store-connection.ts';
import type { AppendResult, LogFailure, StoreOptions } from './store-protocol.ts';

/** The number of appends that may wait for the disk. More are refused, to bound the memory used. */
const MAX_BACKLOG = 20_000;
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
  /** For tests that need no thread: a log in this one is there at once. */
  readonly startThread?: StartThread;
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

/**
 * Opens the log with exclusive access. Creates the file if it does not exist.
 * @throws AuditUnavailable when the file is in use, corrupt, not an audit log, or cannot be written
 */
export async function openAuditLog(options: OpenOptions): Promise<AuditStore> {
  const store = new WorkerStore(
    {
      path: options.path,
      literals: options.literals ?? [],
      blobCapBytes: options.blobCapBytes ?? DEFAULT_BLOB_CAP_BYTES,
      busyTimeoutMs: options.busyTimeoutMs ?? 5000,
      limits: options.limits ?? DEFAULT_SESSION_LIMITS,
      digestKey: options.digestKey,
      ...(options.prepareLimitMs === undefined ? {} : { prepareLimitMs: options.prepareLimitMs }),
    },
    options.startThread,
  );
  await store.open();
  return store;
}

class WorkerStore implements AuditStore {
  readonly #connection: StoreConnection;
  readonly #redactor: Redactor;
  readonly #listeners = new Set<(entry: Entry) => void>();
  readonly digester: RawDigester;
  #pruning: Promise<unknown> = Promise.resolve();

  constructor(options: StoreOptions, startThread: StartThread | undefined) {
    this.#connection = new StoreConnection(options, (entry) => this.#announce(entry), startThread);
    this.#redactor = new Redactor(options.literals);
    this.digester = new RawDigester(options.digestKey);
  }

  get failure(): string | undefined {
    return this.#connection.failure?.message;
  }

  get failureDetails(): LogFailure | undefined {
    return this.#connection.failure;
  }

  /** Starts the writer. Resolves when the file is open. */
  open(): Promise<void> {
    return this.#connection.open();
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
    const { failure } = this.#connection;
    if (failure !== undefined && !failure.acceptsClosing) {
      return Promise.reject(new AuditUnavailable(`the audit log cannot be written: ${failure.message}`));
    }
    if (this.#connection.waiting('append') >= MAX_BACKLOG) {
      return Promise.reject(
        new AuditUnavailable(
          `the audit log cannot keep up: ${MAX_BACKLOG} entries are waiting for the disk; try again`,
        ),
      );
    }
    const { session, attempt, writer } = authorship;
    return this.#connection.ask('append', (id) => ({
      id,
      op: 'append',
      args: { authorship: { session, attempt, writer }, entry, seal },
    }));
  }

  head(session: string): Promise<Head | undefined> {
    return this.#connection.ask('head', (id) => ({ id, op: 'head', args: { session } }));
  }

  read(session: string, options: ReadOptions = {}): Promise<Entry[]> {
    return this.#connection.ask('read', (id) => ({ id, op: 'read', args: { session, options } }));
  }

  tail(session: string, count: number): Promise<Entry[]> {
    return this.#connection.ask('tail', (id) => ({ id, op: 'tail', args: { session, count } }));
  }

  spendingSince(time: string): Promise<ClassSpending[]> {
    return this.#connection.ask('spendingSince', (id) => ({ id, op: 'spendingSince', args: { time } }));
  }

  sessions(): Promise<SessionSummary[]> {
    return this.#connection.ask('sessions', (id) => ({ id, op: 'sessions', args: undefined }));
  }

  blob(digest: string): Promise<string | undefined> {
    return this.#connection.ask('blob', (id) => ({ id, op: 'blob', args: { digest } }));
  }

  async reserve({ session, attempt, clientKey, bound }: Reservation): Promise<void> {
    if (this.failure !== undefined) {
      throw new AuditUnavailable(`the audit log cannot be written: ${this.failure}`);
    }
    await this.#connection.ask('reserve', (id) => ({
      id,
      op: 'reserve',
      args: { session, attempt, clientKey, bound },
    }));
  }

  reservations(): Promise<Reservation[]> {
    return this.#connection.ask('reservations', (id) => ({ id, op: 'reservations', args: undefined }));
  }

  tree(prefix: number): Promise<LogTree> {
    return this.#connection.ask('tree', (id) => ({ id, op: 'tree', args: { prefix } }));
  }

  leaves(from: number, limit: number): Promise<LogLeaf[]> {
    return this.#connection.ask('leaves', (id) => ({ id, op: 'leaves', args: { from, limit } }));
  }

  signedNotes(state: NotesState): Promise<SignedNotes | undefined> {
    return this.#connection.ask('notes', (id) => ({ id, op: 'notes', args: { state } }));
  }

  async saveSignedNotes(state: NotesState, { checkpoint, heads }: SignedNotes): Promise<void> {
    await this.#connection.ask('saveNotes', (id) => ({
      id,
      op: 'saveNotes',
      args: { state, notes: { checkpoint, heads } },
    }));
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
      if (await this.#connection.ask('entomb', (id) => ({ id, op: 'entomb', args: { summary } }))) pruned.push(summary);
    }
    while (await this.#connection.ask('pruneStep', (id) => ({ id, op: 'pruneStep', args: undefined }))) {
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
    return this.#connection.onFailureChange(listener);
  }

  addSecret(literal: string): void {
    if (this.#redactor.add(literal)) this.#connection.addLiteral(literal);
  }

  redact(text: string): string {
    return this.#redactor.text(text);
  }

  close(): Promise<void> {
    return this.#connection.close();
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
}
