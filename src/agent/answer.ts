// Handles the model's answers: records their thoughts, and prepares them for the next request.

import type Anthropic from '@anthropic-ai/sdk';
import type { AuditTrail } from './audit-trail.ts';

/** Whether the output limit or the context window cut the answer off. */
export const wasCutOff = (answer: Anthropic.Message) =>
  answer.stop_reason === 'max_tokens' || answer.stop_reason === 'model_context_window_exceeded';

/** Records what the model thought and said, in order. */
export async function recordThoughts(audit: AuditTrail, answer: Anthropic.Message): Promise<void> {
  for (const block of answer.content) {
    const text = block.type === 'thinking' ? block.thinking : block.type === 'text' ? block.text : '';
    if (text.trim() !== '')
      await audit.append({ kind: 'reasoning', content: text.trim(), params: { type: block.type } });
  }
}

/** The answer's blocks for the next request: unchanged, except for blocks that the API rejects. */
export function replayable(answer: Anthropic.Message): Anthropic.ContentBlockParam[] {
  return answer.content.filter(
    (block) =>
      !(block.type === 'text' && block.text.trim() === '') && !(block.type === 'thinking' && block.signature === ''),
  );
}
