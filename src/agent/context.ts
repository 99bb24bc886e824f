// Trims the conversation: before it becomes too dear or too long, the oldest results become summaries.

import type Anthropic from '@anthropic-ai/sdk';
import { modelFacts } from '../api/model-table.ts';

/** One message of the conversation. */
export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: Anthropic.ContentBlockParam[];
}

/** The short form of a result, and where its full text is. */
export interface ResultNote {
  readonly summary: string;
  /** Sequence number of its entry in the audit log. */
  readonly seq: number;
}

/** The latest results are never shortened, because the model is working with them. */
const KEEP_WHOLE = 4;
/** The share of the window at which trimming cannot wait. */
const FULL = 0.75;
/**
 * Each question reads the whole conversation from the cache, and after a trim all that is left is
 * written anew, at 12 to 50 times the price of a read. Simulated with the real prices, 150,000 tokens
 * and a quarter are the best: 60 turns with results of 5,000 tokens cost $3.70 instead of $4.52 with
 * Opus 5.5, $5.75 instead of $8.14 with Opus 4.8; 120 turns, 40 % and 53 % less. A session that ends
 * just behind costs up to 9 % more (Fable 5.2, whose reads are the cheapest). From 100,000 on, results
 * of 10,000 tokens are trimmed every five turns; from 200,000 on, 60 turns save half as much.
 */
const DEAR_TOKENS = 150_000;
/** Trimming ends at this share of where it began. */
const TRIM_TO = 0.25;
/** What it must save to be worth a new cache, unless it cannot wait. */
const MIN_SAVED = 0.25;
/** How far below the tokens from which on a model charges more for all of them. A turn adds some. */
const BELOW_LONG_PROMPT = 0.9;
/** Characters per token; a conservative estimate for logs and JSON. */
const CHARACTERS_PER_TOKEN = 3;

/** A rough estimate of tokens, for content whose usage is not reported yet. */
export function estimateTokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / CHARACTERS_PER_TOKEN);
}

/** From how many tokens on to trim: for the cost, and in any case. */
export interface TrimLimits {
  readonly dear: number;
  readonly full: number;
}

/** @param contextWindow of the class, if it knows better than the table of models */
export function trimLimits(model: string, contextWindow?: number): TrimLimits {
  const facts = modelFacts(model);
  const full = (contextWindow ?? facts.contextWindow) * FULL;
  const longPrompt = facts.price?.longPrompt?.overTokens ?? Number.POSITIVE_INFINITY;
  return { dear: Math.min(full, DEAR_TOKENS, longPrompt * BELOW_LONG_PROMPT), full };
}

/**
 * Shortens the oldest results until about a quarter is left. Returns undefined if trimming is not
 * necessary, not possible, or not worth it. Thinking blocks are bound to the history before them, so all
 * thinking blocks after the first edit are dropped. The caller keeps the trimmed conversation:
 * trimming a little at each turn would invalidate the prompt cache each time.
 */
export function trimConversation(
  messages: readonly Turn[],
  tokens: number,
  { dear, full }: TrimLimits,
  notes: ReadonlyMap<string, ResultNote>,
): { messages: Turn[]; trimmed: number } | undefined {
  if (tokens < dear) return undefined;
  const excess = (tokens - dear * TRIM_TO) * CHARACTERS_PER_TOKEN;

  const results = messages.flatMap((message) => message.content.filter((block) => block.type === 'tool_result'));
  const shorter = new Map<string, string>();
  let saved = 0;
  for (const block of results.slice(0, Math.max(0, results.length - KEEP_WHOLE))) {
    if (saved >= excess) break;
    const note = notes.get(block.tool_use_id);
    const size = JSON.stringify(block.content ?? '').length;
    if (note === undefined || size < 400) continue;
    const text = `${note.summary}\n[shortened; the full result is entry ${note.seq} of the audit log. Run the command again if you need it.]`;
    shorter.set(block.tool_use_id, text);
    saved += size - text.length;
  }
  const needed = tokens < full ? tokens * MIN_SAVED * CHARACTERS_PER_TOKEN : 1;
  if (saved < needed) return undefined;

  let edited = false;
  const trimmed = messages.map((message): Turn => {
    const content = message.content.flatMap((block): Anthropic.ContentBlockParam[] => {
      if (block.type === 'tool_result') {
        const text = shorter.get(block.tool_use_id);
        if (text === undefined) return [block];
        edited = true;
        return [{ ...block, content: text }];
      }
      const thought = block.type === 'thinking' || block.type === 'redacted_thinking';
      return edited && thought ? [] : [block];
    });
    // An answer that consisted only of thinking must not become an empty message.
    return { ...message, content: content.length > 0 ? content : [{ type: 'text', text: '(no text)' }] };
  });
  return { messages: trimmed, trimmed: shorter.size };
}
