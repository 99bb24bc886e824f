// Small whole answers of the model, as streams.

import type { UpstreamReply } from '../support/model-chain.ts';

export interface Answer {
  readonly thinking?: string;
  readonly calls?: readonly { readonly name: string; readonly input: object }[];
  readonly stop?: string;
  /** Of a refusal. */
  readonly category?: string;
}

/** The call that ends an attempt. */
export const claim: Answer = {
  calls: [{ name: 'conclude', input: { outcome: 'fixed', summary: 's', root_cause: 'c', actions: [] } }],
};

let calls = 0;

/** Answers with these blocks. */
export function answerWith({ thinking, calls: made = [], stop, category }: Answer): UpstreamReply {
  const blocks = [
    ...(thinking === undefined ? [] : [{ type: 'thinking', thinking, signature: 'c2ln' }]),
    ...made.map(({ name, input }) => ({ type: 'tool_use', id: `toolu_answer_${++calls}`, name, input })),
  ];
  const details = category === undefined ? null : { type: 'refusal', category, explanation: null };
  const events = [
    {
      type: 'message_start',
      message: {
        ...{ id: 'msg_answer', type: 'message', role: 'assistant', model: 'claude-opus-5-5', content: [] },
        ...{ stop_reason: null, stop_sequence: null, usage: { input_tokens: 9, output_tokens: 1 } },
      },
    },
    ...blocks.flatMap((block, index) => [
      { type: 'content_block_start', index, content_block: block },
      { type: 'content_block_stop', index },
    ]),
    {
      type: 'message_delta',
      delta: {
        stop_reason: stop ?? (made.length > 0 ? 'tool_use' : 'end_turn'),
        stop_sequence: null,
        stop_details: details,
      },
      usage: { output_tokens: 20 },
    },
    { type: 'message_stop' },
  ];
  const text = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
  return (response) => void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text);
}
