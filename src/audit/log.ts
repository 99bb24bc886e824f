// The interface of the audit log for the gateway: append, read and seal.

import * as z from 'zod';
import type { LogLeaf, SessionHead, SignedNotes, TreeHead } from './checkpoint.ts';
import type { Entry, Receipt, RecordedEntry, Writer } from './entry.ts';
import type { RawDigester } from './raw-digest.ts';

/** Who writes an entry and for which session. Proven by the gateway, never taken from a request. */
export interface Authorship {
  readonly session: string;
  readonly attempt: number;
  readonly writer: Writer;
}

/** The end of a session's chain. */
export interface Head {
  readonly entries: number;
  readonly headHash: string;
  readonly sealed: boolean;
  /** When the entries were deleted. Not set if they are there. */
  readonly prunedAt?: string | undefined;
}

/** One session in a list: which Incident it belongs to, and how far its log goes. */
export const sessionSummary = z.object({
  session: z.string(),
  incident: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  summary: z.string(),
  openedAt: z.string(),
  lastAt: z.string(),
  entries: z.number(),
  headHash: z.string(),
  sealed: z.boolean(),
  outcome: z.string().nullable(),
  /** When the entries were deleted. Not set if they are there. */
  prunedAt: z.string().optional(),
});
export type SessionSummary = Readonly<z.infer<typeof sessionSummary>>;

/** What the model calls of one AgentClass have used. */
export interface ClassSpending {
  readonly agentClass: string;
  readonly costMicroUSD: number;
  readonly tokens: number;
}

export interface ReadOptions {
  /** Only entries after this sequence number. */
  readonly afterSeq?: number;
  readonly limit?: number;
}

/**
 * The upper bound on the cost of a call in progress. If the gateway dies before it can record the
 * end of the call, the next gateway charges this bound.
 */
export interface Reservation {
  readonly session: string;
  readonly attempt: number;
  /**
   * Client key of the entry that will record the end. That entry or the seal deletes the
   * reservation.
   */
  readonly clientKey: string;
  readonly bound: z.infer<ReturnType<typeof z.json>>;
}

/** Reservations are as durable as entries. */
export interface Reservations {
  /** Resolves after the fsync. @throws AuditUnavailable */
  reserve(reservation: Reservation): Promise<void>;
  /** All remaining reservations, of all sessions. */
  reservations(): Promise<Reservation[]>;
}

/** The log as a whole at one moment. */
export interface LogTree extends TreeHead {
  /** The root of the earlier tree that was asked for. Undefined if the log has fewer leaves. */
  readonly prefixRoot: string | undefined;
  /** The heads of the sessions that are not sealed. */
  readonly heads: readonly SessionHead[];
  /** Sessions whose entries do not match their leaves. */
  readonly contradicted: readonly string[];
}

/** What binds the sessions of a log together, and what was signed about them. */
export interface SessionTree {
  /** @param prefix the size of an earlier tree whose root is wanted too */
  tree(prefix: number): Promise<LogTree>;
  leaves(from: number, limit: number): Promise<LogLeaf[]>;
  /** What was signed last, or what was last published outside the file. */
  signedNotes(state: 'signed' | 'published'): Promise<SignedNotes | undefined>;
  /** Resolves after the fsync. @throws AuditUnavailable */
  saveSignedNotes(state: 'signed' | 'published', notes: SignedNotes): Promise<void>;
}

/** The log of all sessions. The promise of a write resolves after the fsync. */
export interface AuditLog {
  /**
   * Appends one entry. Repeating (session, writer, clientKey) with the same body returns the first
   * receipt with `duplicate`.
   * @throws AuditConflict for a different body
   * @throws SessionSealed
   * @throws LimitReached if the session has used its share of the log
   * @throws AuditUnavailable if the store cannot write (fail closed)
   */
  append(authorship: Authorship, entry: RecordedEntry): Promise<Receipt>;
  /** Appends the closing lifecycle entry, after which all entries are refused. Idempotent. */
  seal(authorship: Authorship, entry: RecordedEntry): Promise<{ entries: number; headHash: string }>;
  head(session: string): Promise<Head | undefined>;
  read(session: string, options?: ReadOptions): Promise<Entry[]>;
  tail(session: string, count: number): Promise<Entry[]>;
  sessions(): Promise<SessionSummary[]>;
  /** What each class has used since this time (RFC 3339 in UTC), in the model calls of all sessions. */
  spendingSince(time: string): Promise<ClassSpending[]>;
  blob(digest: string): Promise<string | undefined>;
  /**
   * Calls the listener after each durable append, in order. For the status tail and live watchers.
   */
  onAppend(listener: (entry: Entry) => void): () => void;
  /** Why no new work can be recorded; undefined while the log is healthy. */
  readonly failure: string | undefined;
  /** Digests bytes of which an entry shows only a summary. */
  readonly digester: RawDigester;
  close(): Promise<void>;
}
