// Trims the conversation: near the context window's limit, the oldest results become summaries.

import type Anthropic from '@anthropic-ai/sdk';

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
/** The shares of the window at which trimming starts, and to which it trims. */
const TRIM_FROM = 0.75;
const TRIM_TO = 0.5;
/** Characters per token; a conservative estimate for logs and JSON. */
const CHARACTERS_PER_TOKEN = 3;

/** A rough estimate of tokens, for content whose usage is not reported yet. */
export function estimateTokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / CHARACTERS_PER_TOKEN);
}

/**
 * Shortens the oldest results until about half of the window is used. Returns undefined if trimming
 * is not necessary or not possible. Thinking blocks are bound to the history before them, so all
 * thinking blocks after the first edit are dropped. The caller keeps the trimmed conversation:
 * trimming a little at each turn would invalidate the prompt cache each time.
 */
export function trimConversation(
  messages: readonly Turn[],
  tokens: number,
  window: number,
  notes: ReadonlyMap<string, ResultNote>,
): { messages: Turn[]; trimmed: number } | undefined {
  if (tokens < window * TRIM_FROM) return undefined;
  const excess = (tokens - window * TRIM_TO) * CHARACTERS_PER_TOKEN;

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
  if (shorter.size === 0) return undefined;

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
