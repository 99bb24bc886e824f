// The agent's entries: numbered, so that a retry is recognised, and each on disk before the agent goes on.

import { truncate } from '../api/truncate.ts';
import type { NewEntryInput, Receipt } from '../audit/entry.ts';

/** An entry as the loop writes it; the key is the trail's business. */
export type TrailEntry = Omit<NewEntryInput, 'clientKey'>;

/** What the loop needs of the audit log. */
export interface AuditTrail {
  /** The key that the next entry will get; live output refers to a call by it. */
  readonly nextKey: string;
  /**
   * Resolves when the entry is durable; waits while the log cannot take it.
   * @throws OplabError when the lease is over
   */
  append(entry: TrailEntry): Promise<Receipt>;
}

/** The entry schema's bound on `content`, in characters; what is longer goes to the blob as a whole. */
const MAX_CONTENT = 16384;

/** Fits an entry into the schema's bounds: a content that is too long is cut, and whole in the blob. */
export function withinBounds(entry: TrailEntry): TrailEntry {
  const content = entry.content ?? '';
  if (content.length <= MAX_CONTENT) return entry;
  const mark = ' [cut; the whole text is in the blob]';
  return { ...entry, content: truncate(content, MAX_CONTENT, mark), blob: entry.blob ?? content };
}

/**
 * A trail of one attempt: keys are `<attempt>-<n>` from 1, the same in every run that takes the same course.
 * `send` retries for as long as it takes.
 */
export function createAuditTrail(attempt: number, send: (entry: NewEntryInput) => Promise<Receipt>): AuditTrail {
  let next = 1;
  const key = () => `${attempt}-${next}`;
  return {
    get nextKey() {
      return key();
    },
    append(entry) {
      const clientKey = key();
      next++;
      return send({ ...withinBounds(entry), clientKey });
    },
  };
}
