// What an entry says about its raw form: length and keyed digest of everything that was redacted or
// shortened. It stands in the entry's params under one key that only the writer sets.

import * as z from 'zod';
import type { RawDigest } from './raw-digest.ts';
import type { Json } from './redaction.ts';

/** The reserved key. A caller that sends it has it replaced. */
export const ORIGINAL_KEY = 'original';

/** Why a text is not stored at all. */
export const OMITTED = ['session-limit', 'disk-full', 'time-limit'] as const;
export type Omitted = (typeof OMITTED)[number];

const part = z.object({
  /** The length of the raw text in bytes. */
  bytes: z.number().int().min(0),
  /** HMAC-SHA256 of the raw text in hex. Not set if the log has no key. */
  hmac: z.string().optional(),
  /** How many bytes of it the entry does not show. Not set if none. */
  hiddenBytes: z.number().int().min(0).optional(),
});

/** Present only for what was changed. `body` is a body of which the entry shows a summary. */
export const original = z.object({
  /** Names the key of the digests. */
  key: z.string().optional(),
  tool: part.optional(),
  content: part.optional(),
  params: part.optional(),
  blob: part.extend({ omitted: z.enum(OMITTED).optional() }).optional(),
  body: part.optional(),
});
export type Original = z.infer<typeof original>;

const holder = z.looseObject({ [ORIGINAL_KEY]: original });

/** What an entry says about its raw form; undefined if nothing was changed. */
export function readOriginal(params: unknown): Original | undefined {
  return holder.safeParse(params).data?.[ORIGINAL_KEY];
}

/** The number of bytes that an entry does not show, in all its parts. */
export function hiddenBytes({ tool, content, params, blob }: Original): number {
  return [tool, content, params, blob].reduce((sum, one) => sum + (one?.hiddenBytes ?? 0), 0);
}

/** The params without the reserved key. */
export function withoutOriginal(params: Json): Json {
  if (params === null || typeof params !== 'object' || Array.isArray(params)) return params;
  if (!Object.hasOwn(params, ORIGINAL_KEY)) return params;
  return Object.fromEntries(Object.entries(params).filter(([key]) => key !== ORIGINAL_KEY));
}

/** The params with the reserved key. Params that are not an object move into one, as `value`. */
export function withOriginal(params: Json, parts: Original): Json {
  const value: { [name: string]: Json } = {};
  for (const [name, member] of Object.entries(parts)) {
    if (typeof member === 'string') value[name] = member;
    else if (member !== undefined) value[name] = withoutUndefined(member);
  }
  if (Object.keys(value).every((name) => name === 'key')) return params;
  if (params === null) return { [ORIGINAL_KEY]: value };
  if (typeof params !== 'object' || Array.isArray(params)) return { value: params, [ORIGINAL_KEY]: value };
  return Object.fromEntries([...Object.entries(params), [ORIGINAL_KEY, value]]);
}

function withoutUndefined(members: Readonly<Record<string, string | number | undefined>>): Json {
  const value: { [name: string]: Json } = {};
  for (const [name, member] of Object.entries(members)) if (member !== undefined) value[name] = member;
  return value;
}

const PLACEHOLDER = /\[redacted:[a-z-]+:(\d+)\]/g;

/** The length of what the placeholders in a text stand for. */
function replaced(text: string): number {
  let sum = 0;
  for (const [, length] of text.matchAll(PLACEHOLDER)) sum += Number(length);
  return sum;
}

/**
 * The part for a text that the entry shows differently.
 * @param leftOut bytes of the redacted text that are not stored
 */
export function changedPart(
  digest: RawDigest,
  raw: string,
  redacted: string,
  leftOut: number,
): NonNullable<Original['content']> {
  // The text may have contained something like a placeholder before.
  const hidden = Math.max(0, replaced(redacted) - replaced(raw)) + leftOut;
  return { ...digest, ...(hidden === 0 ? {} : { hiddenBytes: Math.min(hidden, digest.bytes) }) };
}

/** Whether two entries commit to different raw forms under the same key. */
export function contradicts(one: Original | undefined, other: Original | undefined): boolean {
  if (one?.key === undefined || one.key !== other?.key) return false;
  const parts = ['tool', 'content', 'params', 'blob', 'body'] as const;
  return parts.some((name) => {
    const [left, right] = [one[name]?.hmac, other[name]?.hmac];
    return left !== undefined && right !== undefined && left !== right;
  });
}
