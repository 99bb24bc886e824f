// An upper bound on the tokens of a prompt, before it is sent. Pure.
//
// No text has more tokens than bytes. A conversation repeats itself in each call, though, and what
// was sent before has at most the tokens that the model's answer to it counted, whatever text it is.

import { createHash } from 'node:crypto';
import type { MessagesRequest } from './request-policy.ts';

/** The parts of a prompt that may come again in the next one: digest → bytes. */
export type PromptParts = ReadonlyMap<string, number>;

/** What the model counted for a prompt. */
export interface SeenPrompt {
  readonly parts: PromptParts;
  readonly tokens: number;
}

/** The API adds text of its own, for example about tools, which may differ from call to call. */
const MARGIN = 1.1;
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

/**
 * @param bytes of the whole request
 * @param seen the last prompt of this session that the same model answered
 */
export function promptTokenBound(bytes: number, parts: PromptParts, seen: SeenPrompt | undefined): number {
  if (seen === undefined) return bytes;
  let known = 0;
  for (const [digest, size] of parts) if (seen.parts.has(digest)) known += size;
  // A part that comes twice is known once.
  return Math.ceil(Math.min(bytes, bytes - known + seen.tokens * MARGIN));
}
