// Writes a redacted entry as the next row of its session's chain.

import { AuditConflict, AuditUnavailable, LimitReached, SessionSealed } from '../errors.ts';
import type { AuditDatabase } from './database.ts';
import type { Entry } from './entry.ts';
import { decideSpace } from './free-space.ts';
import { canonicalJson, entryHash, genesisHash } from './hash-chain.ts';
import { contradicts, readOriginal, withoutOriginal } from './original.ts';
import { type PreparedAppend, withoutText } from './prepare-append.ts';
import type { Json, Redactor } from './redaction.ts';
import { decideQuota, isClosing, isUnlimited, rowBytes, type SessionLimits, textBytes } from './session-quota.ts';
import type { AppendResult } from './store-protocol.ts';

/** The space that a transaction may use. */
export interface SpaceBudget {
  /** Bytes of room before the reserve; undefined if the space is not known. */
  left: number | undefined;
  /** Set when an entry was refused although it is small. */
  isFull: boolean;
  /** For the message of a refusal. */
  describe(): string;
}

export interface WriteContext {
  readonly redactor: Redactor;
  readonly limits: SessionLimits;
  readonly space: SpaceBudget;
  readonly now: string;
}

/**
 * Writes one row in the caller's transaction.
 * @throws AuditConflict, SessionSealed, LimitReached, AuditUnavailable: nothing was written and the
 * transaction can continue
 */
export function write(db: AuditDatabase, wanted: PreparedAppend, context: WriteContext): AppendResult {
  const { redactor, now } = context;
  const { authorship } = wanted;
  const known = db.byClientKey(authorship.session, authorship.writer, wanted.body.clientKey);
  const head = db.head(authorship.session);
  if (wanted.seal && head?.sealed === true) {
    const seal = db.seal(authorship.session) ?? { entries: head.entries, headHash: head.headHash };
    return {
      receipt: { seq: seal.entries, hash: seal.headHash, time: head.time, duplicate: true },
      head: { ...seal, sealed: true },
    };
  }
  if (known !== undefined && head !== undefined) {
    if (known.attempt !== authorship.attempt || !sameBody(db, known, wanted, redactor)) {
      throw new AuditConflict(
        `session ${authorship.session} already has a different entry of ${authorship.writer} with key "${wanted.body.clientKey}" (row ${known.seq}); use a new key for a new entry`,
      );
    }
    // A seal with the key of an ordinary entry is a conflict too: that row does not close the
    // session.
    if (wanted.seal) {
      throw new AuditConflict(
        `row ${known.seq} has key "${wanted.body.clientKey}" but is not a seal; seal the session with another key`,
      );
    }
    return { receipt: { seq: known.seq, hash: known.hash, time: known.time, duplicate: true }, head: publicHead(head) };
  }
  if (head?.sealed === true) {
    throw new SessionSealed(
      `session ${authorship.session} is sealed with ${head.entries} entries; no more can be added`,
    );
  }
  const append = admit(db, wanted, context);
  const { body } = append;
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
  const isNewText =
    append.blob !== undefined && body.blobDigest !== null && db.insertBlob(body.blobDigest, append.blob, now);
  const size = sizes(append);
  db.insert(entry, body.params === null ? null : canonicalJson(body.params));
  db.addUsage(entry.session, 1, size.rowBytes + (isNewText ? size.textBytes : 0));
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

/** The bytes that an append takes on disk. */
export function sizes({ authorship, body, blob }: PreparedAppend): { rowBytes: number; textBytes: number } {
  const params = body.params === null ? null : canonicalJson(body.params);
  return {
    rowBytes: rowBytes({ ...body, session: authorship.session, params }),
    textBytes: blob === undefined ? 0 : textBytes(blob.length),
  };
}

/** Applies the limits of the session and the reserve of the volume. @throws LimitReached, AuditUnavailable */
function admit(db: AuditDatabase, wanted: PreparedAppend, { limits, space }: WriteContext): PreparedAppend {
  const { session, writer } = wanted.authorship;
  const closing = isClosing(writer, wanted.body.kind);
  const size = sizes(wanted);
  const unlimited = isUnlimited(writer, wanted.body.kind, wanted.body.params);
  const quota = decideQuota(db.usage(session), limits, { unlimited, ...size });
  if (quota.record === 'nothing') {
    throw new LimitReached('record', `the Incident's limit of record is reached: ${quota.message}`);
  }
  const append = quota.record === 'whole' ? wanted : withoutText(wanted, 'session-limit');
  if (space.left === undefined) return append;
  const decision = decideSpace(space.left, sizes(append));
  if (decision.record === 'nothing') {
    // The reserve is for these entries. Their texts are the first to go.
    if (closing) return withoutText(append, 'disk-full');
    space.isFull ||= decision.full;
    throw new AuditUnavailable(`the audit log cannot be written: ${space.describe()}`);
  }
  space.left = decision.left;
  return decision.record === 'whole' ? append : withoutText(append, 'disk-full');
}

function publicHead(head: AppendResult['head']): AppendResult['head'] {
  return { entries: head.entries, headHash: head.headHash, sealed: head.sealed };
}

/**
 * Whether a repeated append has the same body. A secret may have become known in the meantime, so
 * the stored text is redacted again before the comparison. The key of the digests may have changed
 * as well, so digests count only if both were made with the same key.
 */
function sameBody(db: AuditDatabase, known: Entry, append: PreparedAppend, redactor: Redactor): boolean {
  const { body } = append;
  const redactedAgain = (entry: PreparedAppend['body']) =>
    canonicalJson({
      kind: entry.kind,
      tool: entry.tool === null ? null : redactor.text(entry.tool),
      params: redactor.value(bare(entry.params)),
      exitCode: entry.exitCode,
      durationMs: entry.durationMs,
      content: redactor.text(entry.content),
    });
  if (redactedAgain(known) !== redactedAgain(body)) return false;
  const before = readOriginal(known.params);
  if (contradicts(before, append.original)) return false;
  if (before?.blob?.omitted !== undefined) {
    const now = append.blobDigest;
    if (now === undefined) return false;
    return before.key === append.original.key ? before.blob.hmac === now.hmac : before.blob.bytes === now.bytes;
  }
  if (known.blobDigest === body.blobDigest) return true;
  const stored = known.blobDigest === null ? undefined : db.blob(known.blobDigest);
  if (stored === undefined || append.blob === undefined) return false;
  return redactor.text(Buffer.from(stored).toString('utf8')) === Buffer.from(append.blob).toString('utf8');
}

/** The params as they were before the reserved key was added. */
function bare(params: Json): Json {
  const rest = withoutOriginal(params);
  if (rest === null || typeof rest !== 'object' || Array.isArray(rest)) return rest;
  const [[key, value] = ['', null], ...more] = Object.entries(rest);
  if (key === 'value' && more.length === 0) return value;
  return key === '' && more.length === 0 ? null : rest;
}
