// The messages between the audit log and its worker thread.

import type { LogLeaf, SignedNotes } from './checkpoint.ts';
import type { Entry, Receipt, RecordedEntry } from './entry.ts';
import type { Authorship, ClassSpending, Head, LogTree, ReadOptions, Reservation, SessionSummary } from './log.ts';
import type { NotesState } from './log-tables.ts';
import type { SessionLimits } from './session-quota.ts';

/** How the worker opens the file. */
export interface StoreOptions {
  readonly path: string;
  readonly literals: readonly string[];
  readonly blobCapBytes: number;
  /** What each session may use on disk. */
  readonly limits: SessionLimits;
  /** The key of the digests of raw texts. */
  readonly digestKey: Uint8Array | undefined;
  /** How long to wait for another process to release its lock, in milliseconds. */
  readonly busyTimeoutMs: number;
  /** How long the redaction of one entry may take, in milliseconds. Default: 5 s. */
  readonly prepareLimitMs?: number;
}

/** `entry` is set only when the append added an entry. */
export interface AppendResult {
  readonly receipt: Receipt;
  readonly head: Head;
  readonly entry?: Entry;
}

/** The arguments and the result of each operation. */
export interface StoreOperations {
  append: { args: { authorship: Authorship; entry: RecordedEntry; seal: boolean }; result: AppendResult };
  head: { args: { session: string }; result: Head | undefined };
  read: { args: { session: string; options: ReadOptions }; result: Entry[] };
  tail: { args: { session: string; count: number }; result: Entry[] };
  sessions: { args: undefined; result: SessionSummary[] };
  spendingSince: { args: { time: string }; result: ClassSpending[] };
  blob: { args: { digest: string }; result: string | undefined };
  reserve: { args: Reservation; result: undefined };
  reservations: { args: undefined; result: Reservation[] };
  /** Writes the tombstone of a session. False if the session is not sealed, or has one already. */
  entomb: { args: { summary: SessionSummary }; result: boolean };
  /** One step of pruning. False if nothing is left to do. */
  pruneStep: { args: undefined; result: boolean };
  tree: { args: { prefix: number }; result: LogTree };
  leaves: { args: { from: number; limit: number }; result: LogLeaf[] };
  notes: { args: { state: NotesState }; result: SignedNotes | undefined };
  saveNotes: { args: { state: NotesState; notes: SignedNotes }; result: undefined };
  close: { args: undefined; result: undefined };
}
export type OperationName = keyof StoreOperations;

export type OperationRequest<K extends OperationName = OperationName> = {
  [N in K]: { readonly id: number; readonly op: N; readonly args: StoreOperations[N]['args'] };
}[K];

export type StoreRequest = OperationRequest | { readonly op: 'literal'; readonly literal: string };

export type FailureCode =
  | 'OPLAB_AUDIT_CONFLICT'
  | 'OPLAB_SESSION_SEALED'
  | 'OPLAB_LIMIT_REACHED'
  | 'OPLAB_AUDIT_UNAVAILABLE';

/** Why the log does not accept every entry. */
export interface LogFailure {
  readonly message: string;
  readonly isFull: boolean;
  /** Entries that end what has begun are still accepted. */
  readonly acceptsClosing: boolean;
}

export type OperationResult<K extends OperationName = OperationName> = {
  [N in K]: {
    readonly type: 'result';
    readonly id: number;
    readonly op: N;
    readonly value: StoreOperations[N]['result'];
  };
}[K];

export interface OperationError {
  readonly type: 'error';
  readonly id: number;
  readonly op: OperationName;
  readonly code: FailureCode;
  readonly message: string;
}

export type StoreReply =
  | { readonly type: 'opened' }
  | { readonly type: 'refused'; readonly message: string }
  /** `failure` is undefined when writes work again. */
  | { readonly type: 'state'; readonly failure: LogFailure | undefined }
  | OperationResult
  | OperationError;
