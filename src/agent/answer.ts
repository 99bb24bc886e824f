// What becomes of an answer besides its calls: thoughts go on record, and all of it into the next question.

import type Anthropic from '@anthropic-ai/sdk';
import type { AuditTrail } from './audit-trail.ts';

/** Whether the output limit, or the window, cut the answer off. */
export const wasCutOff = (answer: Anthropic.Message) =>
  answer.stop_reason === 'max_tokens' || answer.stop_reason === 'model_context_window_exceeded';

/** Puts what the model thought and said on record, in its order. */
export async function recordThoughts(audit: AuditTrail, answer: Anthropic.Message): Promise<void> {
  for (const block of answer.content) {
    const text = block.type === 'thinking' ? block.thinking : block.type === 'text' ? block.text : '';
    if (text.trim() !== '')
      await audit.append({ kind: 'reasoning', content: text.trim(), params: { type: block.type } });
  }
}

/** The answer as it is sent back with the next question: verbatim, but for blocks that the API does not take back. */
export function replayable(answer: Anthropic.Message): Anthropic.ContentBlockParam[] {
  return answer.content.filter(
    (block) =>
      !(block.type === 'text' && block.text.trim() === '') && !(block.type === 'thinking' && block.signature === ''),
  );
}
