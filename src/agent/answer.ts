// Handles the model's answers: records their thoughts, and prepares them for the next request.

import type Anthropic from '@anthropic-ai/sdk';
import type { ModelRefusal } from '../api/agent-report.ts';
import { oneLine } from '../api/model-error.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { Turn } from './context.ts';

/** A message, and the ID of the request that it answers, if the API gave one. */
export type Answer = Anthropic.Message & { readonly requestID?: string | undefined };

/** Whether the output limit or the context window cut the answer off. */
export const wasCutOff = (answer: Anthropic.Message) =>
  answer.stop_reason === 'max_tokens' || answer.stop_reason === 'model_context_window_exceeded';

/** Which model declined, why, and in which answer. */
export function readRefusal(
  model: string,
  { stop_details: details, requestID }: Answer,
): { readonly refusal: ModelRefusal; readonly message: string } {
  // Of servers that imitate the API, nothing is certain.
  const category = readText(details?.category, 64);
  const explanation = readText(details?.explanation, 500);
  const message = [
    `${model} declined to continue`,
    ...(category === undefined ? [] : [` (category ${category})`]),
    ...(explanation === undefined ? [] : [`: ${explanation}`]),
    ...(requestID === undefined ? [] : [` [request ${requestID}]`]),
  ].join('');
  const fields = {
    ...(category === undefined ? {} : { category }),
    ...(requestID === undefined ? {} : { requestID: requestID.slice(0, 128) }),
  };
  return { refusal: { model: model.slice(0, 256), ...fields }, message };
}

function readText(value: unknown, max: number): string | undefined {
  const line = typeof value === 'string' ? oneLine(value, max) : '';
  return line === '' ? undefined : line;
}

/** Records what the model thought and said, in order. */
export async function recordThoughts(audit: AuditTrail, answer: Anthropic.Message): Promise<void> {
  for (const block of answer.content) {
    const text = block.type === 'thinking' ? block.thinking : block.type === 'text' ? block.text : '';
    if (text.trim() !== '')
      await audit.append({ kind: 'reasoning', content: text.trim(), params: { type: block.type } });
  }
}

const isThought = ({ type }: { readonly type: string }) => type === 'thinking' || type === 'redacted_thinking';

/** The name of a tool as the API takes it back: that of one which the model made up may be any text. */
function acceptedName(name: string): string {
  return name.replaceAll(/[^\w-]/g, '_').slice(0, 128) || '_';
}

/**
 * The answer's blocks for the next request: only those that the API takes back, and of each what it
 * takes, word for word. It refuses thoughts that nothing follows, and members of newer versions of
 * itself.
 */
export function replayable(answer: Anthropic.Message): Anthropic.ContentBlockParam[] {
  const blocks = answer.content.flatMap((block): Anthropic.ContentBlockParam[] => {
    switch (block.type) {
      case 'text':
        return block.text.trim() === '' ? [] : [{ type: 'text', text: block.text }];
      case 'thinking': {
        const { type, thinking, signature } = block;
        return signature === '' ? [] : [{ type, thinking, signature }];
      }
      case 'redacted_thinking':
        return [{ type: block.type, data: block.data }];
      case 'tool_use':
        return [{ type: block.type, id: block.id, name: acceptedName(block.name), input: block.input }];
      default:
        return [];
    }
  });
  return blocks.slice(0, blocks.findLastIndex((block) => !isThought(block)) + 1);
}

/** The conversation without what the model thought; undefined if there is nothing of it. */
export function withoutThinking(conversation: readonly Turn[]): Turn[] | undefined {
  if (!conversation.some(({ content }) => content.some(isThought))) return undefined;
  return conversation.map((turn) => {
    const content = turn.content.filter((block) => !isThought(block));
    return { ...turn, content: content.length > 0 ? content : [{ type: 'text', text: '(no text)' }] };
  });
}
