// The agent's entries: numbered, so that retries are recognized, and durable before the agent goes
// on.

import { truncate } from '../api/truncate.ts';
import type { NewEntryInput, Receipt } from '../audit/entry.ts';

/** An entry as the loop writes it. The trail adds the key. */
export type TrailEntry = Omit<NewEntryInput, 'clientKey'>;

/** What the loop needs of the audit log. */
export interface AuditTrail {
  /** The key of the next entry. Live output refers to a call by its key. */
  readonly nextKey: string;
  /** The number in it. Set it to go on from there: an entry that is sent again is stored once. */
  nextNumber: number;
  /** How many entries an earlier process of the attempt has recorded that come at or after the next. */
  readonly ahead: number;
  /**
   * Resolves when the entry is durable; waits while the log cannot accept it.
   * @throws OplabError if the lease is over
   */
  append(entry: TrailEntry): Promise<Receipt>;
  /** Appends an entry that is not part of the sequence, under a key of its own, until the signal. */
  add(clientKey: string, entry: TrailEntry, signal: AbortSignal): Promise<Receipt>;
}

/** The entry schema's limit on `content`, in characters. Longer texts go to the blob in full. */
const MAX_CONTENT = 16384;
/** Of a text that goes to the blob, in characters. As JSON, it may be six times as long. */
const MAX_BLOB = 1_000_000;

/** Truncates a content that exceeds the schema's limit, and keeps the full text in the blob. */
export function withinBounds(entry: TrailEntry): TrailEntry {
  const content = entry.content ?? '';
  if (content.length <= MAX_CONTENT) return entry;
  const mark = ' [truncated; the full text is in the blob]';
  const blob = entry.blob ?? truncate(content, MAX_BLOB, ' [the rest is left out: the text is too long]');
  return { ...entry, content: truncate(content, MAX_CONTENT, mark), blob };
}

/**
 * The trail of one attempt. Keys are `<attempt>-<n>`, counted from 1, so they are the same in every
 * run that takes the same course. `send` retries for as long as necessary.
 * @param recorded the number of the first entry that no process of the attempt has recorded
 */
export function createAuditTrail(
  attempt: number,
  send: (entry: NewEntryInput, signal?: AbortSignal) => Promise<Receipt>,
  recorded = 1,
): AuditTrail {
  let next = 1;
  const key = () => `${attempt}-${next}`;
  return {
    get nextKey() {
      return key();
    },
    get nextNumber() {
      return next;
    },
    set nextNumber(number) {
      next = number;
    },
    get ahead() {
      return Math.max(0, recorded - next);
    },
    append(entry) {
      const clientKey = key();
      next++;
      return send({ ...withinBounds(entry), clientKey });
    },
    add(clientKey, entry, signal) {
      return send({ ...withinBounds(entry), clientKey }, signal);
    },
  };
}
