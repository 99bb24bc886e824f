// The messages between the audit log and its worker thread.

import type { Entry, NewEntry, Receipt } from './entry.ts';
import type { Authorship, ClassSpending, ReadOptions, Reservation, SessionSummary } from './log.ts';

/** How the worker opens the file. */
export interface StoreOptions {
  readonly path: string;
  readonly literals: readonly string[];
  readonly blobCapBytes: number;
  /** How long to wait for another process to release its lock, in milliseconds. */
  readonly busyTimeoutMs: number;
}

export interface Head {
  readonly entries: number;
  readonly headHash: string;
  readonly sealed: boolean;
}

/** `entry` is set only when the append added an entry. */
export interface AppendResult {
  readonly receipt: Receipt;
  readonly head: Head;
  readonly entry?: Entry;
}

/** The arguments and the result of each operation. */
export interface StoreOperations {
  append: { args: { authorship: Authorship; entry: NewEntry; seal: boolean }; result: AppendResult };
  head: { args: { session: string }; result: Head | undefined };
  read: { args: { session: string; options: ReadOptions }; result: Entry[] };
  tail: { args: { session: string; count: number }; result: Entry[] };
  sessions: { args: undefined; result: SessionSummary[] };
  spendingSince: { args: { time: string }; result: ClassSpending[] };
  blob: { args: { digest: string }; result: string | undefined };
  reserve: { args: Reservation; result: undefined };
  reservations: { args: undefined; result: Reservation[] };
  close: { args: undefined; result: undefined };
}
export type OperationName = keyof StoreOperations;

export type OperationRequest<K extends OperationName = OperationName> = {
  [N in K]: { readonly id: number; readonly op: N; readonly args: StoreOperations[N]['args'] };
}[K];

export type StoreRequest = OperationRequest | { readonly op: 'literal'; readonly literal: string };

export type FailureCode = 'OPLAB_AUDIT_CONFLICT' | 'OPLAB_SESSION_SEALED' | 'OPLAB_AUDIT_UNAVAILABLE';

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
  | { readonly type: 'state'; readonly failure: string | undefined }
  | OperationResult
  | OperationError;
