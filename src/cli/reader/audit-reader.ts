// What the commands need of an audit log, wherever it is: behind the gateway, or in a file.

import type { Entry } from '../../audit/entry.ts';
import type { ReadOptions, SessionSummary } from '../../audit/log.ts';
import type { LiveChunk } from '../../gateway/protocol.ts';

/** What a follower sees of a session while it runs. */
export type FollowEvent =
  | { readonly type: 'entry'; readonly entry: Entry }
  | { readonly type: 'live'; readonly chunk: LiveChunk }
  | { readonly type: 'sealed' }
  /** The gateway is away or does not know the session yet; the follower goes on by itself when it is back. */
  | { readonly type: 'waiting'; readonly reason: string };

export interface FollowOptions {
  readonly afterSeq?: number;
  readonly signal: AbortSignal;
}

/** Read access to the sessions of a log. */
export interface AuditReader {
  /** Where it reads, for people. */
  readonly source: string;
  sessions(): Promise<SessionSummary[]>;
  /** Undefined when there is no such session. */
  session(id: string): Promise<SessionSummary | undefined>;
  entries(id: string, options?: ReadOptions): Promise<Entry[]>;
  /** Every entry after `afterSeq`, once and in order, and live output as it comes; ends with `sealed`. */
  follow(id: string, options: FollowOptions): AsyncIterable<FollowEvent>;
  /** Undefined when it was pruned. */
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
