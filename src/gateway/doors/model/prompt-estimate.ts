// How many tokens a prompt has, before it is sent, and how they will be billed. Pure.
//
// No text has more tokens than bytes. A conversation repeats itself in each call, though, and what
// was sent before has at most the tokens that the model's answer to it counted, whatever text it is.
// Of what is new, so much as a few results is taken to be as dense as the session was so far, but only
// for one call at a time: if it is denser, the limits are exceeded by that once.

import { createHash } from 'node:crypto';
import type { MessagesRequest } from './request-policy.ts';

/** The parts of a prompt that may come again in the next one: digest → bytes. */
export type PromptParts = ReadonlyMap<string, number>;

/** What the model counted for a prompt. */
export interface SeenPrompt {
  readonly parts: PromptParts;
  readonly tokens: number;
  /** Of the whole request. */
  readonly bytes: number;
  /** When the request was sent, in epoch milliseconds: the lifetime of the cache begins there. */
  readonly sentAt: number;
  /** How long the server keeps it; `none` also if the server counted no use of a cache. */
  readonly cacheLife: CacheLife;
  /** Its tokens cost what they cost in the US. */
  readonly inUS: boolean;
}

type CacheLife = 'none' | '5m' | '1h';

/** What a prompt is expected to have. */
export interface PromptEstimate {
  /** Tokens that the model has counted before. */
  readonly known: number;
  readonly added: number;
  /** The known ones will be read from the cache. */
  readonly isCached: boolean;
  readonly inUS: boolean;
}

/** So much new text is taken to be as dense as the session was so far: the two streams of a result. */
const TRUSTED_BYTES = 64 * 1024;
/** The least density that is believed, in tokens per byte: that of plain English. */
const MIN_DENSITY = 0.25;
/** A prompt is still cached within this time, in milliseconds. Shorter than the vendor says. */
const CACHED_FOR: Readonly<Record<CacheLife, number>> = { none: 0, '5m': 270_000, '1h': 3_500_000 };
/** Of what is remembered of a prompt. What has more parts counts by its bytes. */
const MAX_PARTS = 4096;

/** Each message, the system prompt and the tools. */
export function promptParts({ system, tools, messages }: MessagesRequest): PromptParts {
  const parts = new Map<string, number>();
  for (const part of [system, tools, ...messages]) {
    if (part === undefined) continue;
    if (parts.size === MAX_PARTS) break;
    const digest = createHash('sha256')
      .update(JSON.stringify(withoutMarks(part)))
      .digest('base64');
    parts.set(digest, Buffer.byteLength(JSON.stringify(part)));
  }
  return parts;
}

/** A message without its cache marks, which move on with the conversation. */
function withoutMarks(message: unknown): unknown {
  if (typeof message !== 'object' || message === null || !('content' in message)) return message;
  const { content } = message;
  if (typeof content === 'string') return { ...message, content: [{ type: 'text', text: content }] };
  if (!Array.isArray(content)) return message;
  return {
    ...message,
    content: content.map((block: unknown) =>
      typeof block === 'object' && block !== null ? { ...block, cache_control: undefined } : block,
    ),
  };
}

export interface EstimateInput {
  /** Of the whole request. */
  readonly bytes: number;
  readonly parts: PromptParts;
  readonly cacheLife: CacheLife;
  /** The last prompt of this session that the same model answered. */
  readonly seen: SeenPrompt | undefined;
  /** No other call of the session is in progress. */
  readonly isAlone: boolean;
  readonly now: number;
}

export function estimatePrompt({ bytes, parts, cacheLife, seen, isAlone, now }: EstimateInput): PromptEstimate {
  if (seen === undefined) return { known: 0, added: bytes, isCached: false, inUS: false };
  let knownBytes = 0;
  // A part that comes twice is known once.
  for (const [digest, size] of parts) if (seen.parts.has(digest)) knownBytes += size;
  const addedBytes = Math.max(0, bytes - knownBytes);
  const known = Math.min(knownBytes, seen.tokens);
  const density = Math.min(1, Math.max(MIN_DENSITY, seen.tokens / seen.bytes));
  const trusted = isAlone ? Math.min(addedBytes, TRUSTED_BYTES) : 0;
  return {
    known,
    added: Math.ceil(trusted * density) + addedBytes - trusted,
    // What is in the cache is a beginning, so all of it must come again.
    isCached: cacheLife !== 'none' && containsAll(parts, seen.parts) && now - seen.sentAt < CACHED_FOR[seen.cacheLife],
    inUS: seen.inUS,
  };
}

function containsAll(parts: PromptParts, wanted: PromptParts): boolean {
  for (const digest of wanted.keys()) if (!parts.has(digest)) return false;
  return true;
}
