// The conversation's budget: when it nears the model's window, the oldest results shrink to their one-line summaries.

import type Anthropic from '@anthropic-ai/sdk';

/** One message of the conversation. */
export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly content: Anthropic.ContentBlockParam[];
}

/** The short form of a result, and where the whole of it is. */
export interface ResultNote {
  readonly summary: string;
  /** Sequence number of its entry in the audit log. */
  readonly seq: number;
}

/** The latest results stay whole: the model is working with them. */
const KEEP_WHOLE = 4;
/** Share of the window from which the conversation is trimmed, and down to which. */
const TRIM_FROM = 0.75;
const TRIM_TO = 0.5;
/** Characters per token, on the safe side for logs and JSON. */
const CHARACTERS_PER_TOKEN = 3;

/** The context window in tokens; unknown models are taken to have a small one. */
export function windowOf(model: string): number {
  const [, major, minor = '0'] = /^claude-[a-z]+-(\d)(?:-(\d)(?!\d))?/.exec(model) ?? [];
  if (major === undefined) return model.startsWith('claude-') ? 200_000 : 128_000;
  return Number(major) >= 5 || (major === '4' && Number(minor) >= 6) ? 1_000_000 : 200_000;
}

/** A rough count of tokens, for what no usage has been reported yet. */
export function estimateTokens(value: unknown): number {
  return Math.ceil(JSON.stringify(value).length / CHARACTERS_PER_TOKEN);
}

/**
 * Shrinks the oldest results until about half of the window is used; undefined when nothing is to be done or can be.
 * An edited history invalidates every thinking block behind the first edit (models bind them to what came before), so
 * those blocks go too. The edit is meant to be kept: shrinking in steps would lose the prompt cache at each turn.
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
    const text = `${note.summary}\n[shortened; the whole result is entry ${note.seq} of the audit log. Run the command again if you need it.]`;
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
    // An answer that was nothing but thought must not become an empty message.
    return { ...message, content: content.length > 0 ? content : [{ type: 'text', text: '(no words)' }] };
  });
  return { messages: trimmed, trimmed: shorter.size };
}
