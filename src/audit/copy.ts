// Copies a session into another audit file while its gateway is running, page by page.

import { InvalidInput } from '../errors.ts';
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
