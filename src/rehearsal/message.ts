// Answers in the format of the Messages API: the message, its usage, and its stream events.

import { createHash } from 'node:crypto';
import { callId } from './conversation.ts';
import type { Decision } from './engine.ts';
import { type MessagesRequest, REHEARSAL_MODEL } from './request.ts';

interface TextBlock {
  readonly type: 'text';
  readonly text: string;
}
interface ToolUseBlock {
  readonly type: 'tool_use';
  readonly id: string;
  readonly name: string;
  readonly input: Readonly<Record<string, unknown>>;
}
type Block = TextBlock | ToolUseBlock;

export interface RehearsalMessage {
  readonly id: string;
  readonly type: 'message';
  readonly role: 'assistant';
  readonly model: string;
  readonly content: readonly Block[];
  readonly stop_reason: 'end_turn' | 'tool_use';
  readonly stop_sequence: null;
  readonly usage: {
    readonly input_tokens: number;
    readonly output_tokens: number;
    readonly cache_creation_input_tokens: number;
    readonly cache_read_input_tokens: number;
  };
}

/** A deterministic estimate of four characters per token. */
const countTokens = (value: unknown) => Math.max(1, Math.ceil(JSON.stringify(value ?? '').length / 4));

function message(request: MessagesRequest, content: readonly Block[]): RehearsalMessage {
  const asked = [request.system, request.tools, request.messages];
  const digest = createHash('sha256').update(JSON.stringify(asked)).digest('hex');
  return {
    id: `msg_rehearsal_${digest.slice(0, 24)}`,
    type: 'message',
    role: 'assistant',
    model: REHEARSAL_MODEL,
    content,
    stop_reason: content.some((block) => block.type === 'tool_use') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: countTokens(asked),
      output_tokens: countTokens(content),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
    },
  };
}

/** A message that consists of text only. */
export function textMessage(request: MessagesRequest, text: string): RehearsalMessage {
  return message(request, [{ type: 'text', text }]);
}

/** A decision as text and tool calls. */
export function decisionMessage(request: MessagesRequest, decision: Decision): RehearsalMessage {
  const call = (index: number, name: string, input: Record<string, unknown>): ToolUseBlock => ({
    type: 'tool_use',
    id: callId(decision.calls + index + 1, decision.rule),
    name,
    input,
  });
  const calls =
    decision.conclude === undefined
      ? decision.commands.map((command, index) =>
          call(index, 'shell', {
            command,
            purpose: decision.say,
            ...(decision.timeoutSeconds === undefined ? {} : { timeout_seconds: decision.timeoutSeconds }),
          }),
        )
      : [call(0, 'conclude', { ...decision.conclude })];
  return message(request, [{ type: 'text', text: decision.say }, ...calls]);
}

/** Splits a text into the pieces of a stream. */
function pieces(text: string, size: number): string[] {
  const characters = [...text];
  const found: string[] = [];
  for (let start = 0; start < characters.length; start += size)
    found.push(characters.slice(start, start + size).join(''));
  return found;
}

function blockEvents(block: Block, index: number): unknown[] {
  const start = block.type === 'text' ? { type: 'text', text: '' } : { ...block, input: {} };
  const deltas =
    block.type === 'text'
      ? pieces(block.text, 40).map((text) => ({ type: 'text_delta', text }))
      : ['', ...pieces(JSON.stringify(block.input), 60)].map((part) => ({
          type: 'input_json_delta',
          partial_json: part,
        }));
  return [
    { type: 'content_block_start', index, content_block: start },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
    { type: 'content_block_stop', index },
  ];
}

/** The events that carry a message, in the API's order. */
export function buildEvents(whole: RehearsalMessage): { type: string }[] {
  const { content, stop_reason, stop_sequence, usage } = whole;
  const started = {
    ...whole,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...usage, output_tokens: 1 },
  };
  const events: unknown[] = [
    { type: 'message_start', message: started },
    { type: 'ping' },
    ...content.flatMap(blockEvents),
    { type: 'message_delta', delta: { stop_reason, stop_sequence }, usage: { output_tokens: usage.output_tokens } },
    { type: 'message_stop' },
  ];
  return events.filter(
    (event): event is { type: string } => typeof event === 'object' && event !== null && 'type' in event,
  );
}
