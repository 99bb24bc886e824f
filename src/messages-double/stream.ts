// The events of a stream, as the API sends them.

import type Anthropic from '@anthropic-ai/sdk';
import { formatServerSentEvent } from '../net/server-sent-events.ts';

/** An event of the API, or what a fault makes of one. */
export interface StreamEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** Splits a text into the pieces of a stream, between characters. */
function pieces(text: string, size: number): string[] {
  const characters = [...text];
  const found: string[] = [];
  for (let start = 0; start < characters.length; start += size)
    found.push(characters.slice(start, start + size).join(''));
  return found;
}

/** The input of a call: an empty piece first, then each parameter when it is whole, or as it is written. */
function inputPieces(input: unknown, isEager: boolean): string[] {
  if (isEager) return ['', ...pieces(JSON.stringify(input), 24)];
  const parameters = Object.entries(Object(input)).map(
    ([name, value], index) => `${index === 0 ? '{' : ', '}${JSON.stringify(name)}: ${JSON.stringify(value)}`,
  );
  return parameters.length === 0 ? ['', '{}'] : ['', ...parameters, '}'];
}

function deltas(block: Anthropic.ContentBlock, isEager: boolean): Anthropic.RawContentBlockDelta[] {
  switch (block.type) {
    case 'text':
      return pieces(block.text, 40).map((text) => ({ type: 'text_delta', text }));
    case 'thinking':
      return [
        ...pieces(block.thinking, 40).map((thinking) => ({ type: 'thinking_delta' as const, thinking })),
        { type: 'signature_delta', signature: block.signature },
      ];
    case 'tool_use':
      return inputPieces(block.input, isEager).map((partial_json) => ({ type: 'input_json_delta', partial_json }));
    default:
      return [];
  }
}

function emptied(block: Anthropic.ContentBlock): Anthropic.ContentBlock {
  switch (block.type) {
    case 'text':
      return { ...block, text: '' };
    case 'thinking':
      return { ...block, thinking: '', signature: '' };
    case 'tool_use':
      return { ...block, input: {} };
    default:
      return block;
  }
}

export interface StreamOptions {
  /** The tools whose input is streamed as it is written. */
  readonly eager?: ReadonlySet<string> | undefined;
  /** The input of the last call, which is cut off: its block does not end. */
  readonly openInput?: string | undefined;
}

/** The events that carry a message. */
export function buildEvents(message: Anthropic.Message, { eager, openInput }: StreamOptions = {}): StreamEvent[] {
  const { content, usage, stop_reason, stop_sequence, stop_details } = message;
  const isOpen = (index: number) => openInput !== undefined && index === content.length - 1;
  const start = { ...message, content: [], stop_reason: null, stop_details: null };
  return [
    {
      type: 'message_start',
      message: { ...start, usage: { ...usage, output_tokens: 1, output_tokens_details: null } },
    },
    ...content.flatMap((block, index): StreamEvent[] => [
      { type: 'content_block_start', index, content_block: emptied(block) },
      ...(index === 0 ? [{ type: 'ping' }] : []),
      ...(isOpen(index)
        ? ['', openInput].map((partial_json) => ({ type: 'input_json_delta', partial_json }))
        : deltas(block, block.type === 'tool_use' && eager?.has(block.name) === true)
      ).map((delta) => ({ type: 'content_block_delta', index, delta })),
      ...(isOpen(index) ? [] : [{ type: 'content_block_stop', index }]),
    ]),
    ...(content.length === 0 ? [{ type: 'ping' }] : []),
    {
      type: 'message_delta',
      delta: { container: null, stop_reason, stop_sequence, stop_details },
      usage: {
        input_tokens: usage.input_tokens,
        cache_creation_input_tokens: usage.cache_creation_input_tokens,
        cache_read_input_tokens: usage.cache_read_input_tokens,
        output_tokens: usage.output_tokens,
        output_tokens_details: usage.output_tokens_details,
        server_tool_use: null,
      },
    },
    { type: 'message_stop' },
  ];
}

/** An event as text. The API pads some with spaces, so that their length says less. */
export function formatEvent(event: StreamEvent, index: number): string {
  const text = formatServerSentEvent(event.type, event);
  const padding = event.type === 'content_block_delta' ? ' '.repeat((index * 7) % 16) : '';
  return padding === '' ? text : text.replace(/\}\n\n$/, `${padding}}\n\n`);
}
