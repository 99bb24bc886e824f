// Turns a new entry into the next row of its session's chain: redacted, capped and hashed.

import { AuditConflict, SessionSealed } from '../errors.ts';
import { capBlob, outerWindows } from './blob-cap.ts';
import type { AuditDatabase } from './database.ts';
import type { Entry, NewEntry } from './entry.ts';
import { canonicalJson, entryHash, genesisHash, sha256 } from './hash-chain.ts';
import { SEALED_EVENT } from './lifecycle.ts';
import type { Authorship } from './log.ts';
import type { Json, Redactor } from './redaction.ts';
import type { AppendResult } from './store-protocol.ts';

/** The maximum length of `content` in characters. The entry schema enforces it for callers. */
const MAX_CONTENT = 16384;

/** A redacted append, ready to be written. */
export interface PreparedAppend {
  readonly authorship: Authorship;
  readonly seal: boolean;
  readonly body: Pick<
    Entry,
    'clientKey' | 'kind' | 'tool' | 'params' | 'exitCode' | 'durationMs' | 'content' | 'blobDigest'
  >;
  readonly blob: Uint8Array | undefined;
}

/** Redacts and caps an entry. Done before the transaction, because it is the slow part. */
export function prepare(
  authorship: Authorship,
  entry: NewEntry,
  seal: boolean,
  redactor: Redactor,
  blobCapBytes: number,
): PreparedAppend {
  const blob = entry.blob === undefined ? undefined : redactBlob(entry.blob, redactor, blobCapBytes);
  const params = entry.params === undefined ? null : redactor.value(entry.params);
  return {
    authorship,
    seal,
    blob,
    body: {
      clientKey: entry.clientKey,
      kind: seal ? 'lifecycle' : entry.kind,
      tool: entry.tool === undefined ? null : storable(redactor.text(entry.tool)),
      params: withoutNul(seal ? asSealed(params) : params),
      exitCode: entry.exitCode ?? null,
      durationMs: entry.durationMs ?? null,
      content: storable(redactor.text(entry.content)).slice(0, MAX_CONTENT).toWellFormed(),
      blobDigest: blob === undefined ? null : sha256(blob),
    },
  };
}

function redactBlob(text: string, redactor: Redactor, cap: number): Uint8Array {
  const windows = outerWindows(text, cap);
  return capBlob(redactor.text(windows.text), cap, windows.leftOut);
}

/**
 * Some SQLite functions end a text at its first NUL, so NUL is stored as the symbol for NUL (␀).
 */
function storable(text: string): string {
  return text.replaceAll('\u0000', '\u2400');
}

function withoutNul(value: Json): Json {
  if (typeof value === 'string') return storable(value);
  if (Array.isArray(value)) return value.map(withoutNul);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [storable(key), withoutNul(member)]));
}

/** Readers and the verifier recognise a seal by its event. */
function asSealed(params: Json): Json {
  if (params === null || typeof params !== 'object' || Array.isArray(params)) return { event: SEALED_EVENT };
  return { ...params, event: SEALED_EVENT };
}

/**
 * Writes one row in the caller's transaction.
 * @throws AuditConflict, SessionSealed: nothing was written and the transaction can continue
 */
export function write(db: AuditDatabase, append: PreparedAppend, redactor: Redactor, now: string): AppendResult {
  const { authorship, body } = append;
  const known = db.byClientKey(authorship.session, authorship.writer, body.clientKey);
  const head = db.head(authorship.session);
  if (append.seal && head?.sealed === true) {
    const seal = db.seal(authorship.session) ?? { entries: head.entries, headHash: head.headHash };
    return {
      receipt: { seq: seal.entries, hash: seal.headHash, time: head.time, duplicate: true },
      head: { ...seal, sealed: true },
    };
  }
  if (known !== undefined && head !== undefined) {
    if (known.attempt !== authorship.attempt || !sameBody(db, known, append, redactor)) {
      throw new AuditConflict(
        `session ${authorship.session} already has a different entry of ${authorship.writer} with key "${body.clientKey}" (row ${known.seq}); use a new key for a new entry`,
      );
    }
    // A seal with the key of an ordinary entry is a conflict too: that row does not close the
    // session.
    if (append.seal) {
      throw new AuditConflict(
        `row ${known.seq} has key "${body.clientKey}" but is not a seal; seal the session with another key`,
      );
    }
    return { receipt: { seq: known.seq, hash: known.hash, time: known.time, duplicate: true }, head: publicHead(head) };
  }
  if (head?.sealed === true) {
    throw new SessionSealed(
      `session ${authorship.session} is sealed with ${head.entries} entries; no more can be added`,
    );
  }
  const fields = {
    session: authorship.session,
    seq: (head?.entries ?? 0) + 1,
    // Entry times never decrease, even if the clock is set back.
    time: head !== undefined && head.time > now ? head.time : now,
    attempt: authorship.attempt,
    writer: authorship.writer,
    ...body,
    prevHash: head?.headHash ?? genesisHash(authorship.session),
  };
  const entry: Entry = { ...fields, hash: entryHash(fields) };
  if (append.blob !== undefined && body.blobDigest !== null) db.insertBlob(body.blobDigest, append.blob, now);
  db.insert(entry, body.params === null ? null : canonicalJson(body.params));
  if (entry.writer === 'gateway' && entry.kind === 'model_call') db.deleteReservations(entry.session, entry.clientKey);
  if (append.seal) {
    db.insertSeal(entry.session, entry.seq, entry.hash);
    db.deleteReservations(entry.session);
  }
  return {
    receipt: { seq: entry.seq, hash: entry.hash, time: entry.time, duplicate: false },
    head: { entries: entry.seq, headHash: entry.hash, sealed: append.seal },
    entry,
  };
}

function publicHead(head: AppendResult['head']): AppendResult['head'] {
  return { entries: head.entries, headHash: head.headHash, sealed: head.sealed };
}

/**
 * Whether a repeated append has the same body. A secret may have become known in the meantime, so
 * the stored text is redacted again before the comparison.
 */
function sameBody(db: AuditDatabase, known: Entry, append: PreparedAppend, redactor: Redactor): boolean {
  const { body } = append;
  const redactedAgain = (entry: PreparedAppend['body']) =>
    canonicalJson({
      kind: entry.kind,
      tool: entry.tool === null ? null : redactor.text(entry.tool),
      params: redactor.value(entry.params),
      exitCode: entry.exitCode,
      durationMs: entry.durationMs,
      content: redactor.text(entry.content),
    });
  if (redactedAgain(known) !== redactedAgain(body)) return false;
  if (known.blobDigest === body.blobDigest) return true;
  const stored = known.blobDigest === null ? undefined : db.blob(known.blobDigest);
  if (stored === undefined || append.blob === undefined) return false;
  return redactor.text(Buffer.from(stored).toString('utf8')) === Buffer.from(append.blob).toString('utf8');
}
