// Copies a session into another audit file while its gateway is running, page by page.

import { InvalidInput } from '../errors.ts';
import { hashLeaf, type LogLeaf } from './checkpoint.ts';
import type { AuditDatabase } from './database.ts';
import type { Entry } from './entry.ts';
import { canonicalJson, isSeal } from './hash-chain.ts';
import type { ReadOptions, SessionSummary } from './log.ts';
import { rowBytes, textBytes } from './session-quota.ts';

/** What a copy reads. */
export interface CopySource {
  /** What is read, for messages. */
  readonly source: string;
  entries(session: string, options: ReadOptions): Promise<Entry[]>;
  /** Undefined if it was pruned. */
  blob(digest: string): Promise<string | undefined>;
  /** Undefined if the log has none. */
  leaves(from: number): Promise<readonly LogLeaf[] | undefined>;
}

/**
 * Adds the leaves that the file lacks. Rows come after their leaves, so that the copy has the tree of
 * the original. @throws InvalidInput if the file is not a copy of the same log
 */
export async function copyLeaves(db: AuditDatabase, source: CopySource): Promise<void> {
  const known = db.log.leaves();
  const last = known.at(-1);
  const leaves = await source.leaves(Math.max(0, known.length - 1));
  if (leaves === undefined) return;
  const theirs = leaves.find(({ index }) => index === last?.index);
  if (last !== undefined && (theirs === undefined || !hashLeaf(theirs).equals(hashLeaf(last)))) {
    throw new InvalidInput(
      `the file is not a copy of the log of ${source.source}: its leaf ${last.index} (${last.event}, session ${last.session}) is not in that log at this place; use another file`,
    );
  }
  db.transaction(() => db.log.insertLeaves(leaves.filter(({ index }) => index >= known.length)));
}

const PAGE = 200;
/** The texts of one transaction, in characters. */
const BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Adds what the file lacks of a session, unchanged.
 * @returns the number of entries added
 * @throws InvalidInput if the file has a different session with this id
 */
export async function copySession(
  db: AuditDatabase,
  source: CopySource,
  summary: SessionSummary,
  now: Date,
): Promise<number> {
  const { session } = summary;
  const head = db.head(session);
  if (head?.prunedAt !== undefined) return 0;
  if (summary.prunedAt !== undefined) {
    // If the file still has the entries, it keeps them: it is the better copy.
    const { prunedAt } = summary;
    if (head === undefined) db.transaction(() => db.pruning.entomb(summary, prunedAt));
    return 0;
  }
  if (head !== undefined) {
    const [theirs] = await source.entries(session, { afterSeq: head.entries - 1, limit: 1 });
    if (theirs?.hash !== head.headHash) {
      throw new InvalidInput(
        `the file has a different session ${session}: its row ${head.entries} is not the one of ${source.source}; use another file`,
      );
    }
  }
  let added = 0;
  for (let afterSeq = head?.entries ?? 0; ; ) {
    const page = await source.entries(session, { afterSeq, limit: PAGE });
    let batch: Copied[] = [];
    let bytes = 0;
    const flush = () => {
      db.transaction(() => {
        for (const copied of batch) insertCopied(db, copied, now);
      });
      [batch, bytes] = [[], 0];
    };
    // Whatever was opened or sealed with one of these entries has its leaf by now.
    if (page.some((entry) => entry.seq === 1 || isSeal(entry))) await copyLeaves(db, source);
    for (const entry of page) {
      const { blobDigest } = entry;
      const text = blobDigest === null || db.blob(blobDigest) !== undefined ? undefined : await source.blob(blobDigest);
      batch.push({ entry, text });
      bytes += text?.length ?? 0;
      if (bytes >= BATCH_BYTES) flush();
    }
    flush();
    added += page.length;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return added;
    afterSeq = last.seq;
  }
}

interface Copied {
  readonly entry: Entry;
  /** The full text, if the file lacks it. */
  readonly text: string | undefined;
}

function insertCopied(db: AuditDatabase, { entry, text }: Copied, now: Date): void {
  const { session, blobDigest } = entry;
  const params = entry.params === null ? null : canonicalJson(entry.params);
  const isNew =
    text !== undefined && blobDigest !== null && db.insertBlob(blobDigest, Buffer.from(text), now.toISOString());
  db.insert(entry, params);
  db.addUsage(session, 1, rowBytes({ ...entry, params }) + (isNew ? textBytes(Buffer.byteLength(text)) : 0));
  if (isSeal(entry)) db.insertSeal(session, entry.seq, entry.hash);
}
