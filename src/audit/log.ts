// The audit log as the gateway uses it: append, read, seal. The store behind it is SQLite in a worker thread.

import type { z } from 'zod';
import type { Entry, NewEntry, Receipt, Writer } from './entry.ts';

/** What an append is made on behalf of; proven by the gateway, never taken from a request. */
export interface Authorship {
  readonly session: string;
  readonly attempt: number;
  readonly writer: Writer;
}

export interface SessionSummary {
  readonly session: string;
  readonly incident: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly summary: string;
  readonly openedAt: string;
  readonly lastAt: string;
  readonly entries: number;
  readonly headHash: string;
  readonly sealed: boolean;
  readonly outcome: string | null;
}

export interface ReadOptions {
  /** Only entries after this sequence number. */
  readonly afterSeq?: number;
  readonly limit?: number;
}

/** Something that was begun and whose end will be an entry: what it costs at most, should nobody live to see the end. */
export interface Reservation {
  readonly session: string;
  readonly attempt: number;
  /** Of the gateway's entry to come; that entry takes the reservation away, and so does the session's seal. */
  readonly clientKey: string;
  readonly bound: z.infer<ReturnType<typeof z.json>>;
}

/** Reservations, as durable as entries. */
export interface Reservations {
  /** Resolves after the fsync. @throws AuditUnavailable */
  reserve(reservation: Reservation): Promise<void>;
  /** All that are left, of all sessions. */
  reservations(): Promise<Reservation[]>;
}

/** The log of all sessions. Every promise of a write resolves after the fsync. */
export interface AuditLog {
  /**
   * Appends one entry. The same (session, writer, clientKey) with the same body returns the first receipt with `duplicate`.
   * @throws AuditConflict for another body, SessionSealed, AuditUnavailable when the store cannot write (fail closed)
   */
  append(authorship: Authorship, entry: NewEntry): Promise<Receipt>;
  /** Appends the closing lifecycle entry and refuses all later ones. Idempotent: returns the head hash. */
  seal(authorship: Authorship, entry: NewEntry): Promise<{ entries: number; headHash: string }>;
  head(session: string): Promise<{ entries: number; headHash: string; sealed: boolean } | undefined>;
  read(session: string, options?: ReadOptions): Promise<Entry[]>;
  tail(session: string, count: number): Promise<Entry[]>;
  sessions(): Promise<SessionSummary[]>;
  blob(digest: string): Promise<string | undefined>;
  /** Called after each durable append, in order; for the status tail and live watchers. */
  onAppend(listener: (entry: Entry) => void): () => void;
  /** Undefined while healthy, else why nothing can be written. */
  readonly failure: string | undefined;
  close(): Promise<void>;
}
