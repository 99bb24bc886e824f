// The interface through which commands read an audit log, from the gateway or from a file.

import type { LogLeaf, SignedNotes } from '../../audit/checkpoint.ts';
import type { Entry } from '../../audit/entry.ts';
import type { ReadOptions, SessionSummary } from '../../audit/log.ts';
import type { SessionProof } from '../../audit/session-proof.ts';
import type { ErrorCode } from '../../error-codes.ts';
import type { LiveChunk } from '../../gateway/protocol.ts';

/** An event of a session that is being followed. */
export type FollowEvent =
  | { readonly type: 'entry'; readonly entry: Entry }
  | { readonly type: 'live'; readonly chunk: LiveChunk }
  | { readonly type: 'sealed' }
  | ({ readonly type: 'waiting' } & Waiting);

/**
 * Why no events arrive: the gateway is unreachable, or does not have the session yet. The follower
 * retries by itself.
 */
export interface Waiting {
  readonly reason: string;
  /** The code of the error, if it has one. OPLAB_NOT_FOUND: the log has no such session yet. */
  readonly code?: ErrorCode | undefined;
}

export interface FollowOptions {
  readonly afterSeq?: number;
  readonly signal: AbortSignal;
}

/** A session that was opened while somebody waits for new ones. */
export type OpeningEvent =
  | { readonly type: 'opened'; readonly summary: SessionSummary }
  | ({ readonly type: 'waiting' } & Waiting);

/** What binds the sessions of a log together, and what was signed about it. */
export interface LogSignature {
  readonly leaves: readonly LogLeaf[];
  /** Undefined if nothing was signed yet. */
  readonly notes: SignedNotes | undefined;
  /** The key that the source itself names. Files name none. */
  readonly publicKey: string | undefined;
}

/** Read access to the sessions of a log. */
export interface AuditReader {
  /** What is read, for messages. */
  readonly source: string;
  sessions(): Promise<SessionSummary[]>;
  /** Undefined if the session does not exist. */
  session(id: string): Promise<SessionSummary | undefined>;
  entries(id: string, options?: ReadOptions): Promise<Entry[]>;
  /**
   * Every entry after `afterSeq`, once and in order, and live output as it arrives. Ends with
   * `sealed`.
   */
  follow(id: string, options: FollowOptions): AsyncIterable<FollowEvent>;
  /**
   * Every session that is opened after the first `from` leaves, once and in order. Ends when the
   * signal aborts, or at once if nobody writes to the source.
   */
  openings(from: number, signal: AbortSignal): AsyncIterable<OpeningEvent>;
  /** The leaves from this index on. Undefined if the source has none, like `signature`. */
  leaves(from: number): Promise<readonly LogLeaf[] | undefined>;
  /** Undefined if the source has none: an export, or a log of an earlier version. */
  signature(): Promise<LogSignature | undefined>;
  /** The proof that a session was imported with, or null if it had none. Undefined: not imported. */
  importedProof(id: string): Promise<SessionProof | null | undefined>;
  /** Undefined if it was pruned. */
  blob(digest: string): Promise<string | undefined>;
  close(): Promise<void>;
}

/** All entries of a session, page by page. */
export async function allEntries(reader: AuditReader, session: string, afterSeq = 0): Promise<Entry[]> {
  const page = 500;
  const entries: Entry[] = [];
  for (;;) {
    const next = await reader.entries(session, { afterSeq: entries.at(-1)?.seq ?? afterSeq, limit: page });
    entries.push(...next);
    if (next.length < page) return entries;
  }
}

/** The openings of a source to which nobody writes. */
export async function* nobodyWrites(): AsyncGenerator<OpeningEvent> {}
