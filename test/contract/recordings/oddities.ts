// What is new, what is not counted, and other ways to write a stream, or none.

import {
  answer,
  type Case,
  call,
  closes,
  delta,
  ends,
  error,
  final,
  opens,
  ran,
  start,
  stop,
  text,
  tool,
  USAGE,
} from './events.ts';

export const unknownThings: readonly Case[] = [
  {
    name: 'an event, a block and a delta that nobody knows yet',
    events: [
      start(),
      { type: 'future_event', x: 1 },
      opens(0, { type: 'future_block', text: '' }),
      delta(0, { type: 'future_delta', text: 'x' }),
      closes(0),
      ...text(1, 'x'),
      ends('end_turn'),
      stop,
    ],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'an unknown block behind a call',
    events: [start(), ...call(0), opens(1, { type: 'future_block' }), closes(1), ends('tool_use'), stop],
    expect: ran(['tool_use']),
  },
  {
    name: 'a call on the side of the vendor, which nobody asked for',
    events: [
      start(),
      ...tool(0, 'web_search', ['{}'], { type: 'server_tool_use', id: 'srvtoolu_1' }),
      ...call(1),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['tool_use']),
  },
  {
    name: 'a text with citations',
    events: [
      start(),
      opens(0, { type: 'text', text: '', citations: [] }),
      delta(0, { type: 'text_delta', text: 'x' }),
      delta(0, { type: 'citations_delta', citation: { type: 'char_location', cited_text: 'y' } }),
      closes(0),
      ends('end_turn'),
      stop,
    ],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'unknown members everywhere',
    events: [
      {
        ...start({ ...USAGE, iterations: [], server_tool_use: { web_search_requests: 0 } }, { container: null }),
        x: 1,
      },
      { ...opens(0, { type: 'text', text: '', x: 1 }), x: 1 },
      { ...delta(0, { type: 'text_delta', text: 'x', x: 1 }), x: [1] },
      { ...closes(0), x: null },
      { ...ends('end_turn', { output_tokens: 77, x: { y: 1 } }, { container: { id: 'c' } }), context_management: null },
      { ...stop, 'amazon-bedrock-invocationMetrics': { inputTokenCount: 1 } },
    ],
    expect: answer({ replay: ['text'] }),
  },
];

export const usages: readonly Case[] = [
  {
    name: 'a count of the input that is corrected at the end',
    events: [start(), ...text(0, 'x'), ends('end_turn', { ...USAGE, input_tokens: 61, output_tokens: 9 }), stop],
    expect: answer({ replay: ['text'], charge: [61, 2400, 0, 9] }),
  },
  {
    name: 'counts at the end that are null',
    events: [
      start(),
      ...text(0, 'x'),
      ends('end_turn', { input_tokens: null, cache_read_input_tokens: null, output_tokens: 77 }),
      stop,
    ],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'no usage at the beginning, as of some servers',
    events: [start(null), ...text(0, 'x'), ends('end_turn', { input_tokens: 50, output_tokens: 77 }), stop],
    expect: answer({ replay: ['text'], charge: [50, 0, 0, 77] }),
  },
  {
    name: 'no usage at the end',
    events: [start(), ...text(0, 'xyz'), { ...ends('end_turn'), usage: undefined }, stop],
    expect: answer({ replay: ['text'], charge: [5, 2400, 0, 2] }),
  },
  {
    name: 'a usage of null at the end',
    events: [start(), ...text(0, 'xyz'), ends('end_turn', null), stop],
    expect: answer({ replay: ['text'], charge: [5, 2400, 0, 2] }),
  },
  {
    name: 'no usage anywhere: the prompt as it was expected, the output by its bytes',
    events: [start(null), ...text(0, 'x'.repeat(300)), ends('end_turn', null), stop],
    expect: { verdict: 'answer', replay: ['text'], outputAtMost: 200, isTurn: true },
  },
];

/** The lines of a small answer, which each case of the syntax writes in its own way. */
const small = [start(), ...text(0, 'x'), ends('end_turn'), stop];
const lines = (format: (type: string, data: string) => string) =>
  small.map((event) => format(event.type, JSON.stringify(event))).join('');
export const syntax: readonly Case[] = (
  [
    ['ends of line with a carriage return', lines((type, data) => `event: ${type}\r\ndata: ${data}\r\n\r\n`)],
    ['no blank behind the colon', lines((type, data) => `event:${type}\ndata:${data}\n\n`)],
    ['no event lines, as of some proxies', lines((_type, data) => `data: ${data}\n\n`)],
    [
      'comments, ids and retries',
      lines((type, data) => `: keep-alive\nid: 1\nretry: 5\nevent: ${type}\ndata: ${data}\n\n`),
    ],
    ['a byte order mark', `\uFEFF${lines((type, data) => `event: ${type}\ndata: ${data}\n\n`)}`],
    [
      'data in several lines',
      lines((type, data) => `event: ${type}\ndata: ${data.slice(0, 1)}\ndata: ${data.slice(1)}\n\n`),
    ],
    [
      'a mark of the end, as of other APIs',
      `${lines((type, data) => `event: ${type}\ndata: ${data}\n\n`)}data: [DONE]\n\n`,
    ],
  ] as const
).map(([name, events]) => ({ name, events, expect: answer({ replay: ['text'] }) }));

const json = 'application/json';
const message = {
  ...{ id: 'msg_recorded', type: 'message', role: 'assistant', model: 'claude-opus-5-5', stop_sequence: null },
  content: [{ type: 'tool_use', id: 'toolu_1', name: 'shell', input: { command: 'kubectl get pods', purpose: 'see' } }],
  ...{ stop_reason: 'tool_use', usage: { ...USAGE, output_tokens: 77 } },
};
export const noStreams: readonly Case[] = [
  { name: 'a whole message', events: JSON.stringify(message), contentType: json, expect: ran(['tool_use']) },
  {
    name: 'a whole message without usage',
    events: JSON.stringify({ ...message, usage: undefined }),
    contentType: json,
    expect: { verdict: 'answer', run: ['kubectl get pods'], replay: ['tool_use'], outputAtMost: 200, isTurn: true },
  },
  {
    name: 'JSON that is no message',
    events: JSON.stringify({ choices: [{ message: { content: 'hello' } }] }),
    contentType: json,
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'an error with the status of success',
    events: JSON.stringify(error('authentication_error')),
    contentType: json,
    expect: final('OPLAB_MODEL_KEY_REFUSED', 1),
  },
  {
    name: 'the page of a portal',
    events: '<html><body>Sign in</body></html>',
    contentType: 'text/html',
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
];
