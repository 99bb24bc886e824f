// The rows of the audit file as schemas, and what an entry is in the terms of its row.

import * as z from 'zod';
import { type Entry, entryKind, writer } from './entry.ts';
import { canonicalJson } from './hash-chain.ts';
import type { Json } from './redaction.ts';

/** The columns of `entries`, in the order of the table. */
export const ENTRY_COLUMNS =
  'session, seq, time, attempt, writer, client_key, kind, tool, params, exit_code, duration_ms, content, blob_digest, prev_hash, hash';

/** The columns of `entries` that hold text. */
export const ENTRY_TEXTS: readonly string[] = [
  'session',
  'time',
  'writer',
  'client_key',
  'kind',
  'tool',
  'params',
  'content',
  'blob_digest',
  'prev_hash',
  'hash',
];

/**
 * The columns for a SELECT that returns texts as bytes, for `decodeTexts`. Otherwise, invalid bytes
 * would be read as U+FFFD, and a changed byte in one of these would not show.
 */
export function strictColumns(columns: string, texts: readonly string[]): string {
  return columns
    .split(', ')
    .map((name) => (texts.includes(name) ? `CAST(${name} AS BLOB) AS ${name}` : name))
    .join(', ');
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A row with its texts decoded. Where bytes are not valid UTF-8, they stay, and no schema accepts them. */
export function decodeTexts(row: unknown): unknown {
  if (row === null || typeof row !== 'object') return row;
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => {
      if (!(value instanceof Uint8Array)) return [name, value];
      try {
        return [name, utf8.decode(value)];
      } catch {
        return [name, value];
      }
    }),
  );
}

/** A row of `entries`, as an entry. */
export const entryRow = z
  .object({
    session: z.string(),
    seq: z.number(),
    time: z.string(),
    attempt: z.number(),
    writer,
    client_key: z.string(),
    kind: entryKind,
    tool: z.string().nullable(),
    params: z.string().nullable(),
    exit_code: z.number().nullable(),
    duration_ms: z.number().nullable(),
    content: z.string(),
    blob_digest: z.string().nullable(),
    prev_hash: z.string(),
    hash: z.string(),
  })
  .transform(
    (row): Entry => ({
      session: row.session,
      seq: row.seq,
      time: row.time,
      attempt: row.attempt,
      writer: row.writer,
      clientKey: row.client_key,
      kind: row.kind,
      tool: row.tool,
      params: row.params === null ? null : parsedJson(row.params),
      exitCode: row.exit_code,
      durationMs: row.duration_ms,
      content: row.content,
      blobDigest: row.blob_digest,
      prevHash: row.prev_hash,
      hash: row.hash,
    }),
  );

const paramsText = z.object({ params: z.string().nullable() });

/**
 * Refuses params that are not spelled as they were written. JSON has several spellings of a value,
 * and the hash covers only the value. @throws Error
 */
export function requireCanonicalParams(row: unknown, entry: Entry): void {
  const { params } = paramsText.parse(row);
  if (params !== null && params !== canonicalJson(entry.params)) throw new Error('params are not canonical JSON');
}

/** Parses stored JSON. Bypasses the schema's copy, which would drop a key such as __proto__ and break the hash. */
export function parsedJson(text: string): Json {
  const value: Json = JSON.parse(text);
  return value;
}

export const headRow = z.object({ seq: z.number(), time: z.string(), hash: z.string(), sealed: z.number() });
export const sealRow = z.object({ session: z.string(), entries: z.number(), head_hash: z.string() });
export const blobRow = z.object({ bytes: z.instanceof(Uint8Array) });
export const usageRow = z.object({ entries: z.number(), bytes: z.number() });
export const nameRow = z.object({ name: z.string() });
export const reservationRow = z.object({
  session: z.string(),
  client_key: z.string(),
  attempt: z.number(),
  bound: z.string(),
});
export const spendingRow = z.object({ agent_class: z.string(), cost: z.number(), tokens: z.number() });
export const sessionRow = z.object({
  session: z.string(),
  namespace: z.string(),
  name: z.string(),
  summary: z.string(),
  opened_at: z.string(),
  last_at: z.string(),
  entries: z.number(),
  head_hash: z.string(),
  sealed: z.number(),
  outcome: z.string().nullable(),
});
