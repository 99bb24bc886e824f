// The audit entry: one row of the log, as the gateway stores it and as readers receive it.

import * as z from 'zod';
import { ENTRY_KINDS } from './entry-kinds.ts';
import type { RawDigest } from './raw-digest.ts';

export const entryKind = z.enum(ENTRY_KINDS);
export type EntryKind = z.infer<typeof entryKind>;

/**
 * Who wrote the entry. The gateway sets it from the caller's proven identity, never from the
 * request.
 */
export const writer = z.enum(['agent', 'sandbox', 'gateway']);
export type Writer = z.infer<typeof writer>;

/** The body that a caller sends to the audit door. */
export const newEntry = z.object({
  clientKey: z.string().min(1).max(128).meta({ description: 'Chosen by the writer; makes the append idempotent.' }),
  kind: entryKind,
  tool: z.string().max(128).optional(),
  params: z
    .json()
    .optional()
    .meta({ description: 'Arguments of the call, or facts of a lifecycle step. Redacted before they are stored.' }),
  exitCode: z.number().int().optional(),
  durationMs: z.number().int().min(0).optional(),
  content: z
    .string()
    .max(16384)
    .default('')
    .meta({ description: 'Short text: the reasoning, or the summary of a result.' }),
  blob: z
    .string()
    .optional()
    .meta({ description: 'Full text (UTF-8), stored once by digest after redaction and a cap.' }),
});
export type NewEntry = z.infer<typeof newEntry>;
/** The input form, in which `content` is optional. */
export type NewEntryInput = z.input<typeof newEntry>;

/** An entry as the gateway appends it. */
export interface RecordedEntry extends NewEntry {
  /**
   * Of a body that the entry shows only as a summary. Never part of what a caller sends: the schema
   * drops it.
   */
  readonly rawBody?: RawDigest | undefined;
}

/** A stored entry. `seq` counts from 1 in each session. `hash` covers every field above it. */
export const entry = z.object({
  session: z.string(),
  seq: z.number().int(),
  time: z.string(),
  attempt: z.number().int(),
  writer,
  clientKey: z.string(),
  kind: entryKind,
  tool: z.string().nullable(),
  params: z.json().nullable(),
  exitCode: z.number().int().nullable(),
  durationMs: z.number().int().nullable(),
  content: z.string(),
  blobDigest: z.string().nullable(),
  prevHash: z.string(),
  hash: z.string(),
});
export type Entry = z.infer<typeof entry>;

/**
 * Parses an entry that was received as JSON. The params are used as received: the schema's copy
 * would drop a key such as __proto__, and the hash would no longer match.
 */
export function parseEntry(raw: unknown): Entry {
  const parsed = entry.parse(raw);
  if (parsed.params === null || raw === null || typeof raw !== 'object' || !('params' in raw)) return parsed;
  const params: unknown = raw.params;
  return { ...parsed, params: isJson(params) ? params : parsed.params };
}

function isJson(value: unknown): value is Entry['params'] {
  return z.json().safeParse(value).success;
}

/** The acknowledgement of an append. It is sent when the entry is on disk. */
export const receipt = z.object({ seq: z.number().int(), hash: z.string(), time: z.string(), duplicate: z.boolean() });
export type Receipt = z.infer<typeof receipt>;
