// An answer as the API makes one: thinking with its signature, ids, usage, and where it was cut off.

import type Anthropic from '@anthropic-ai/sdk';
import type { PromptUsage } from './cache.ts';
import { isThinking, type ModelRules } from './model-rules.ts';
import { countTokens, messageBlocks } from './prompt.ts';
import type { MessagesRequest } from './request.ts';
import { sign } from './signature.ts';

/** What the model behind the double answers. */
export interface Answer {
  /** Its thought, of which the client sees a summary, nothing, or what `display` says. Left out if the request has no thinking. */
  readonly thinking?: string;
  readonly content: readonly (
    | { readonly type: 'text'; readonly text: string }
    | {
        readonly type: 'tool_use';
        /** Default: made up from the request. */
        readonly id?: string;
        readonly name: string;
        readonly input: Readonly<Record<string, unknown>>;
      }
  )[];
  /** Default: `tool_use` if it has a call, else `end_turn`. */
  readonly stopReason?: Anthropic.StopReason;
  readonly stopDetails?: Anthropic.RefusalStopDetails;
}

/** Thinking is shown as text if the request asks for it, and on older models by default. */
function isShown(thinking: MessagesRequest['thinking'], isOlder: boolean): boolean {
  const display = thinking === undefined || thinking.type === 'disabled' ? undefined : thinking.display;
  return display ? display === 'summarized' : isOlder;
}

/** What an answer is made with, besides the request. */
export interface MessageContext {
  readonly model: ModelRules;
  readonly prompt: PromptUsage;
  /** Of the request. Ids are made from it, so that the same question has the same answer. */
  readonly digest: string;
  readonly account: string;
}

/** The whole message. */
export function buildMessage(
  request: MessagesRequest,
  answer: Answer,
  { model, prompt, digest, account }: MessageContext,
): Anthropic.Message {
  const content: Anthropic.ContentBlock[] = [];
  const thinks = answer.thinking !== undefined && isThinking(model, request.thinking);
  if (answer.thinking !== undefined && thinks) {
    const thinking = isShown(request.thinking, model.isOlder) ? answer.thinking : '';
    const before = messageBlocks(request).map((block) => block.digest);
    const signature = sign({ account, model: request.model, thought: thinking, before });
    content.push({ type: 'thinking', thinking, signature });
  }
  for (const [index, block] of answer.content.entries()) {
    if (block.type === 'text') content.push({ type: 'text', text: block.text, citations: null });
    else {
      const { id = `toolu_${digest.slice(0, 22)}${index}`, name, input } = block;
      content.push({ type: 'tool_use', id, name, input, caller: { type: 'direct' } });
    }
  }
  const thought = thinks ? countTokens(answer.thinking) : 0;
  const spoken = content.filter(({ type }) => type !== 'thinking');
  const calls = content.some(({ type }) => type === 'tool_use');
  return {
    id: `msg_${digest.slice(0, 24)}`,
    type: 'message',
    role: 'assistant',
    model: request.model,
    content,
    container: null,
    diagnostics: null,
    stop_reason: answer.stopReason ?? (calls ? 'tool_use' : 'end_turn'),
    stop_sequence: null,
    stop_details: answer.stopDetails ?? null,
    usage: {
      input_tokens: prompt.uncached,
      cache_creation_input_tokens: prompt.written5m + prompt.written1h,
      cache_read_input_tokens: prompt.read,
      cache_creation: {
        ephemeral_5m_input_tokens: prompt.written5m,
        ephemeral_1h_input_tokens: prompt.written1h,
      },
      output_tokens: thought + spoken.reduce((sum, block) => sum + countTokens(block), 0),
      output_tokens_details: thinks ? { thinking_tokens: thought } : null,
      server_tool_use: null,
      service_tier: 'standard',
      inference_geo: request.inference_geo ?? 'global',
      speed: 'standard',
    },
  };
}
