// Redacts and caps a new entry, before it becomes a row of its session's chain.

import { capBlob, outerWindows } from './blob-cap.ts';
import type { Entry, RecordedEntry } from './entry.ts';
import { canonicalJson, sha256 } from './hash-chain.ts';
import { SEALED_EVENT } from './lifecycle.ts';
import type { Authorship } from './log.ts';
import { changedPart, type Omitted, type Original, withOriginal, withoutOriginal } from './original.ts';
import type { RawDigest, RawDigester } from './raw-digest.ts';
import type { Json, Redactor } from './redaction.ts';

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
  /** The redacted params without the reserved key. */
  readonly params: Json;
  readonly original: Original;
  /** Of the raw text of the blob, in case that the text cannot be stored. */
  readonly blobDigest: RawDigest | undefined;
}

/** What preparation needs besides the entry. */
export interface Preparation {
  readonly redactor: Redactor;
  readonly digester: RawDigester;
  readonly blobCapBytes: number;
}

/** Redacts and caps an entry. Done before the transaction, because it is the slow part. */
export function prepare(
  authorship: Authorship,
  entry: RecordedEntry,
  seal: boolean,
  { redactor, digester, blobCapBytes }: Preparation,
): PreparedAppend {
  const part = (raw: string, redacted: string, leftOut = 0) =>
    raw === redacted && leftOut === 0 ? undefined : changedPart(digester.of(raw), raw, redacted, leftOut);
  const tool = entry.tool === undefined ? null : storable(redactor.text(entry.tool));
  const text = storable(redactor.text(entry.content));
  const content = text.slice(0, MAX_CONTENT).toWellFormed();
  const params = prepareParams(entry.params ?? null, seal, redactor);
  const rawParams = canonicalJson(entry.params ?? null);
  const shownParams = canonicalJson(params);
  const blob = entry.blob === undefined ? undefined : redactBlob(entry.blob, redactor, blobCapBytes);
  const original: Original = {
    key: digester.keyId,
    tool: entry.tool === undefined || tool === null ? undefined : part(entry.tool, tool),
    content: part(entry.content, content, Buffer.byteLength(text) - Buffer.byteLength(content)),
    // A seal's event is added by the writer: that is not a change of what was sent.
    params: seal ? undefined : part(rawParams, shownParams),
    blob: entry.blob === undefined || blob === undefined ? undefined : part(entry.blob, blob.text, blob.leftOut),
    body: entry.rawBody,
  };
  return {
    authorship,
    seal,
    blob: blob?.bytes,
    params,
    original,
    blobDigest: entry.blob === undefined ? undefined : digester.of(entry.blob),
    body: {
      clientKey: storable(entry.clientKey.toWellFormed()),
      kind: seal ? 'lifecycle' : entry.kind,
      tool,
      params: withOriginal(params, original),
      exitCode: entry.exitCode ?? null,
      durationMs: entry.durationMs ?? null,
      content,
      blobDigest: blob === undefined ? null : sha256(blob.bytes),
    },
  };
}

/** An append whose full text cannot be redacted in time: only its length and digest are stored. */
export function prepareWithoutText(
  authorship: Authorship,
  { blob = '', ...entry }: RecordedEntry,
  seal: boolean,
  preparation: Preparation,
): PreparedAppend {
  const append = prepare(authorship, entry, seal, preparation);
  return withoutText({ ...append, blobDigest: preparation.digester.of(blob) }, 'time-limit');
}

function prepareParams(raw: Json, seal: boolean, redactor: Redactor): Json {
  const params = raw === null ? null : withoutOriginal(redactor.value(raw));
  return withoutNul(seal ? asSealed(params) : params);
}

function redactBlob(text: string, redactor: Redactor, cap: number) {
  const windows = outerWindows(text, cap);
  const redacted = redactor.text(windows.text);
  return { text: redacted, ...capBlob(redacted, cap, windows.leftOut) };
}

/** The same append without its full text, of which only length and digest remain. */
export function withoutText(append: PreparedAppend, omitted: Omitted): PreparedAppend {
  const { blobDigest } = append;
  if (blobDigest === undefined) return append;
  const original: Original = { ...append.original, blob: { ...blobDigest, hiddenBytes: blobDigest.bytes, omitted } };
  const params = withOriginal(append.params, original);
  return { ...append, original, blob: undefined, body: { ...append.body, params, blobDigest: null } };
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
