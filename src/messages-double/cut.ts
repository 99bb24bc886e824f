// Cuts an answer off where its output limit is reached.

import type Anthropic from '@anthropic-ai/sdk';
import { countTokens } from './prompt.ts';

export interface CutMessage {
  readonly message: Anthropic.Message;
  /** What had been written of the last call when it was cut off: JSON that does not end. */
  readonly openInput?: string;
}

/** The message with at most this many tokens. */
export function cutAtLimit(message: Anthropic.Message, maxTokens: number): CutMessage {
  if (message.usage.output_tokens <= maxTokens) return { message };
  let left = Math.max(0, maxTokens);
  const content: Anthropic.ContentBlock[] = [];
  for (const block of message.content) {
    const thought = message.usage.output_tokens_details?.thinking_tokens ?? 0;
    const tokens = block.type === 'thinking' ? thought : countTokens(block);
    if (tokens > left) return cutBlock(message, content, block, left / tokens, maxTokens);
    left -= tokens;
    content.push(block);
  }
  return { message: limited(message, content, maxTokens) };
}

/** The message with its last call cut off in the middle, or its last block if there is none. */
export function cutInLastBlock(message: Anthropic.Message): CutMessage {
  const last = message.content.at(-1);
  if (last === undefined) return { message: limited(message, [], message.usage.output_tokens) };
  return cutBlock(message, message.content.slice(0, -1), last, 0.5, message.usage.output_tokens);
}

function cutBlock(
  message: Anthropic.Message,
  front: readonly Anthropic.ContentBlock[],
  block: Anthropic.ContentBlock,
  share: number,
  tokens: number,
): CutMessage {
  const start = (text: string) => [...text].slice(0, Math.floor([...text].length * share)).join('');
  switch (block.type) {
    case 'text':
      return { message: limited(message, [...front, { ...block, text: start(block.text) }], tokens) };
    case 'thinking':
      // What was not thought to its end is not signed.
      return {
        message: limited(message, [...front, { ...block, thinking: start(block.thinking), signature: '' }], tokens),
      };
    case 'tool_use':
      return {
        message: limited(message, [...front, { ...block, input: {} }], tokens),
        openInput: start(JSON.stringify(block.input)),
      };
    default:
      return { message: limited(message, front, tokens) };
  }
}

function limited(message: Anthropic.Message, content: readonly Anthropic.ContentBlock[], tokens: number) {
  const usage = { ...message.usage, output_tokens: tokens };
  return { ...message, content: [...content], stop_reason: 'max_tokens' as const, usage };
}
