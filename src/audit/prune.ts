// Deletes old sessions from the file and leaves a tombstone of each: its number of entries and its head.
//
// Everything is done in short steps, so that no append waits long. The tombstone comes first, in a
// transaction of its own: a prune that was interrupted is finished later, and never looks like a loss.

import type { DatabaseSync } from 'node:sqlite';
import * as z from 'zod';
import { type SessionSummary, sessionSummary } from './log.ts';
import { PAGE_BYTES } from './schema.ts';

/** Rows that one step deletes at most. */
const STEP_ROWS = 200;
/** The texts that one step deletes at most, in bytes. */
const STEP_BYTES = 2 * 1024 * 1024;
/** Free pages that one step returns to the file system. */
const STEP_PAGES = 256;

/** What is left of a pruned session. */
export interface Tombstone {
  readonly session: string;
  readonly entries: number;
  readonly headHash: string;
  readonly prunedAt: string;
  readonly summary: SessionSummary;
}

const tombstoneRow = z
  .object({
    session: z.string(),
    entries: z.number(),
    head_hash: z.string(),
    pruned_at: z.string(),
    summary: z.string(),
  })
  .transform(({ session, entries, head_hash, pruned_at, summary }): Tombstone => {
    const parsed = sessionSummary.parse(JSON.parse(summary));
    // The columns count: the trigger has compared them with the seal.
    return {
      session,
      entries,
      headHash: head_hash,
      prunedAt: pruned_at,
      summary: { ...parsed, session, entries, headHash: head_hash, sealed: true, prunedAt: pruned_at },
    };
  });
const entryKey = z.object({ seq: z.number(), blob_digest: z.string().nullable(), size: z.number() });
const sessionName = z.object({ session: z.string() });
const freeList = z.object({ freelist_count: z.number() });
const vacuumMode = z.object({ auto_vacuum: z.number() });

/** The sessions that may be pruned: sealed, and without an entry since `before`. Pure. */
export function selectPrunable(sessions: readonly SessionSummary[], before: Date): SessionSummary[] {
  const limit = before.toISOString();
  return sessions.filter(({ sealed, prunedAt, lastAt }) => sealed && prunedAt === undefined && lastAt < limit);
}

/** The statements of one open file. Each write runs in its caller's transaction. */
export class Pruning {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  tombstone(session: string): Tombstone | undefined {
    const row = this.#db.prepare('SELECT * FROM pruned WHERE session = ?').get(session);
    return row === undefined ? undefined : tombstoneRow.parse(row);
  }

  tombstones(): Tombstone[] {
    return this.#db
      .prepare('SELECT * FROM pruned ORDER BY pruned_at, session')
      .all()
      .map((row) => tombstoneRow.parse(row));
  }

  /** Writes the tombstone of a session. From then on, its rows are no longer read. */
  entomb(summary: SessionSummary, now: string): void {
    const { session, entries, headHash } = summary;
    this.#db
      .prepare('INSERT INTO pruned (session, entries, head_hash, pruned_at, summary) VALUES (?, ?, ?, ?, ?)')
      .run(session, entries, headHash, now, JSON.stringify(summary));
    this.#db.prepare('DELETE FROM seals WHERE session = ?').run(session);
    this.#db.prepare('DELETE FROM reservations WHERE session = ?').run(session);
  }

  /**
   * Deletes some rows of a session that has a tombstone, and the texts that no other row names.
   * @returns false if nothing is left to delete
   */
  deleteSome(): boolean {
    const next = this.#db
      .prepare('SELECT session FROM pruned p WHERE EXISTS (SELECT 1 FROM entries WHERE session = p.session) LIMIT 1')
      .get();
    if (next === undefined) return false;
    const { session } = sessionName.parse(next);
    const rows = this.#db
      .prepare(
        `SELECT seq, blob_digest, coalesce(length(b.bytes), 0) AS size FROM entries e
         LEFT JOIN blobs b ON b.digest = e.blob_digest WHERE e.session = ? ORDER BY seq DESC LIMIT ?`,
      )
      .all(session, STEP_ROWS)
      .map((row) => entryKey.parse(row));
    let bytes = 0;
    for (const { seq, blob_digest, size } of rows) {
      bytes += size;
      this.#db.prepare('DELETE FROM entries WHERE session = ? AND seq = ?').run(session, seq);
      if (blob_digest !== null) {
        this.#db
          .prepare('DELETE FROM blobs WHERE digest = ?1 AND NOT EXISTS (SELECT 1 FROM entries WHERE blob_digest = ?1)')
          .run(blob_digest);
      }
      if (bytes >= STEP_BYTES) break;
    }
    this.#db.prepare('DELETE FROM usage WHERE session = ?').run(session);
    return true;
  }

  /**
   * Returns some free pages to the file system. Not in a transaction.
   * @returns false if there are none, or if the file was made by a version that could not shrink it
   */
  shrinkSome(): boolean {
    const { auto_vacuum: mode } = vacuumMode.parse(this.#db.prepare('PRAGMA auto_vacuum').get());
    if (mode !== 2 || this.#freePages() === 0) return false;
    this.#db.exec(`PRAGMA incremental_vacuum(${STEP_PAGES})`);
    return this.#freePages() > 0;
  }

  #freePages(): number {
    return freeList.parse(this.#db.prepare('PRAGMA freelist_count').get()).freelist_count;
  }

  /** The bytes of pages that the file has but does not use. */
  freePageBytes(): number {
    return this.#freePages() * PAGE_BYTES;
  }
}
