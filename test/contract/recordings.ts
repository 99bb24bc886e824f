// Answers of the Messages API as streams: what the vendor's documentation, public recordings and
// servers that imitate the API show. Their structure is real; texts, ids and signatures are made up.

import type { AgentReport } from '../../src/api/agent-report.ts';

/** The events of an answer, or its bytes where they are the point. */
export type Recording = readonly object[] | string;

/** What becomes of an answer. */
export interface Expected {
  /**
   * - `answer`: it is one, and the conversation goes on with the next question
   * - `again`: the same question is asked again, because this may pass
   * - an end: the attempt ends after so many questions
   */
  readonly verdict: 'answer' | 'again' | { readonly questions: number; readonly code: AgentReport['code'] };
  /** The commands that are run, in order. */
  readonly run?: readonly string[];
  /** The types of the blocks that are sent back with the next question. */
  readonly replay?: readonly string[];
  /** Tokens: input, written to the cache, read from it, output. */
  readonly charge?: readonly [number, number, number, number] | 'nothing';
  /** Output is charged by what may have been made; at most so many tokens. */
  readonly outputAtMost?: number;
  /** It counts as a turn. */
  readonly isTurn?: boolean;
  /** What the Incident keeps of a refusal. */
  readonly refusal?: object;
  /** A text in the report or on record. */
  readonly says?: RegExp;
}

export interface Case {
  readonly name: string;
  readonly events: Recording;
  readonly expect: Expected;
  /** Of an answer that is no stream. */
  readonly contentType?: string;
  /** The connection is reset behind the last event. */
  readonly reset?: boolean;
}

const USAGE = {
  input_tokens: 5,
  cache_creation_input_tokens: 2400,
  cache_read_input_tokens: 0,
  cache_creation: { ephemeral_5m_input_tokens: 2400, ephemeral_1h_input_tokens: 0 },
  output_tokens: 2,
  service_tier: 'standard',
  inference_geo: 'global',
};
/** The tokens of most recordings. */
const WHOLE = [5, 2400, 0, 77] as const;

const DECLINED = { model: 'claude-opus-5-5', requestID: 'req_recorded' };

const start = (usage: object | null = USAGE, more: object = {}) => ({
  type: 'message_start',
  message: {
    ...{ id: 'msg_recorded', type: 'message', role: 'assistant', model: 'claude-opus-5-5', content: [] },
    ...{ stop_reason: null, stop_sequence: null, stop_details: null, usage, ...more },
  },
});
const ping = { type: 'ping' };
const opens = (index: number, block: object) => ({ type: 'content_block_start', index, content_block: block });
const delta = (index: number, part: object) => ({ type: 'content_block_delta', index, delta: part });
const closes = (index: number) => ({ type: 'content_block_stop', index });
const ends = (reason: string | null, usage: object | null | undefined = { output_tokens: 77 }, more: object = {}) => ({
  type: 'message_delta',
  delta: { stop_reason: reason, stop_sequence: null, stop_details: null, ...more },
  ...(usage === undefined ? {} : { usage }),
});
const stop = { type: 'message_stop' };
const error = (type: string, more: object = {}) => ({
  type: 'error',
  error: { type, message: 'made up', ...more },
  request_id: 'req_recorded',
});

const text = (index: number, ...parts: readonly string[]) => [
  opens(index, { type: 'text', text: '' }),
  ...parts.map((part) => delta(index, { type: 'text_delta', text: part })),
  closes(index),
];
const thinking = (index: number, parts: readonly string[], signature: string | undefined) => [
  opens(index, { type: 'thinking', thinking: '', signature: '' }),
  ...parts.map((part) => delta(index, { type: 'thinking_delta', thinking: part })),
  ...(signature === undefined ? [] : [delta(index, { type: 'signature_delta', signature })]),
  closes(index),
];
const tool = (index: number, name: string, json: readonly string[], more: object = {}) => [
  opens(index, { type: 'tool_use', id: `toolu_recorded_${index}`, name, input: {}, ...more }),
  ...json.map((part) => delta(index, { type: 'input_json_delta', partial_json: part })),
  closes(index),
];
const call = (index: number, command = 'kubectl get pods') =>
  tool(index, 'shell', ['', '{"comm', `and": ${JSON.stringify(command)}, "purp`, 'ose": "see"}']);

const answer = (more: Partial<Expected> = {}): Expected => ({
  ...{ verdict: 'answer', run: [], charge: WHOLE },
  ...more,
});
const ran = (replay: readonly string[], ...run: readonly string[]): Expected =>
  answer({ run: run.length > 0 ? run : ['kubectl get pods'], replay });
const final = (code: AgentReport['code'], questions: number, more: Partial<Expected> = {}): Expected => ({
  ...{ verdict: { code, questions }, run: [] },
  ...more,
});

const wholeAnswers: readonly Case[] = [
  {
    name: 'thinking with pings inside, then a call whose first part is empty',
    events: [
      start(),
      ...thinking(0, ['The store ', 'is down.'], 'c2lnbmF0dXJl').flatMap((event) => [event, ping]),
      ...call(1),
      ends('tool_use', { ...USAGE, output_tokens: 77 }),
      stop,
    ],
    expect: ran(['thinking', 'tool_use']),
  },
  {
    name: 'thinking that is not displayed',
    events: [start(), ...thinking(0, [], 'c2ln'), ...call(1), ends('tool_use'), stop],
    expect: ran(['thinking', 'tool_use']),
  },
  {
    name: 'thinking whose signature comes in parts',
    events: [
      start(),
      opens(0, { type: 'thinking', thinking: '', signature: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'hm' }),
      delta(0, { type: 'signature_delta', signature: 'c2lnbmF0dXJl' }),
      closes(0),
      ...text(1, 'x'),
      ends('end_turn'),
      stop,
    ],
    expect: answer({ replay: ['thinking', 'text'] }),
  },
  {
    name: 'redacted thinking, which has no deltas',
    events: [
      start(),
      opens(0, { type: 'redacted_thinking', data: 'ZGF0YQ==' }),
      closes(0),
      ...call(1),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['redacted_thinking', 'tool_use']),
  },
  {
    name: 'thinking without a signature, and usage without a cache, of a local server',
    events: [
      start({ input_tokens: 812, output_tokens: 0 }),
      ...thinking(0, ['hm'], undefined),
      ...call(1),
      ends('tool_use', { output_tokens: 40 }),
      stop,
    ],
    expect: { ...ran(['tool_use']), charge: [812, 0, 0, 40] },
  },
  {
    name: 'a text and three calls at once',
    events: [
      start(),
      ...text(0, 'Looking.'),
      ...call(1, 'a'),
      ...call(2, 'b'),
      ...call(3, 'c'),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['text', 'tool_use', 'tool_use', 'tool_use'], 'a', 'b', 'c'),
  },
  {
    name: 'thinking between two calls',
    events: [start(), ...call(0, 'a'), ...thinking(1, ['then'], 'c2ln'), ...call(2, 'b'), ends('tool_use'), stop],
    expect: ran(['tool_use', 'thinking', 'tool_use'], 'a', 'b'),
  },
  {
    name: 'an empty text, which the API does not take back',
    events: [start(), ...text(0, ''), ...call(1), ends('tool_use'), stop],
    expect: ran(['tool_use']),
  },
  {
    name: 'a text of blanks alone',
    events: [start(), ...text(0, '\n\n', ' '), ...call(1), ends('tool_use'), stop],
    expect: ran(['tool_use']),
  },
  {
    name: 'a call whose whole input is in its start, as of local servers',
    events: [
      start(),
      opens(0, {
        type: 'tool_use',
        id: 'toolu_1',
        name: 'shell',
        input: { command: 'kubectl get pods', purpose: 'see' },
      }),
      closes(0),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['tool_use']),
  },
  {
    name: 'a call without any input',
    events: [start(), ...tool(0, 'shell', []), ends('tool_use'), stop],
    expect: answer({ replay: ['tool_use'] }),
  },
  {
    name: 'a call of a tool that there is not',
    events: [start(), ...tool(0, 'browser', ['{"url": "x"}']), ends('tool_use'), stop],
    expect: answer({ replay: ['tool_use'], says: /There is no tool .{0,2}browser/ }),
  },
  {
    name: 'a call with an escape that is cut in two',
    events: [
      start(),
      ...tool(0, 'shell', ['{"command": "echo \\u00', 'e9\\u2028", "purpose": "see"}']),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['tool_use'], 'echo é\u2028'),
  },
  {
    name: 'line separators and characters outside the plane in a text',
    events: [start(), ...text(0, 'a\u2028b\u2029c\u0085', '🎉', 'é'), ends('end_turn'), stop],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'blocks whose parts are mixed',
    events: [
      start(),
      opens(0, { type: 'text', text: '' }),
      opens(1, { type: 'tool_use', id: 'toolu_1', name: 'shell', input: {} }),
      delta(0, { type: 'text_delta', text: 'x' }),
      delta(1, { type: 'input_json_delta', partial_json: '{"command": "kubectl get pods", "purpose": "see"}' }),
      closes(0),
      closes(1),
      ends('tool_use'),
      stop,
    ],
    expect: ran(['text', 'tool_use']),
  },
  {
    name: 'an answer of nothing at all',
    events: [start(), ends('end_turn', { output_tokens: 1 }), stop],
    expect: answer({ replay: [], charge: [5, 2400, 0, 1] }),
  },
];

const stopReasons: readonly Case[] = [
  {
    name: 'max_tokens inside of thinking, which then has no signature',
    events: [
      start(),
      opens(0, { type: 'thinking', thinking: '', signature: '' }),
      delta(0, { type: 'thinking_delta', thinking: 'and on and on' }),
      closes(0),
      ends('max_tokens'),
      stop,
    ],
    expect: answer({ replay: [] }),
  },
  {
    name: 'max_tokens inside of a call, which does not end',
    events: [
      start(),
      opens(0, { type: 'tool_use', id: 'toolu_1', name: 'shell', input: {} }),
      delta(0, { type: 'input_json_delta', partial_json: '{"command": "rm -rf ' }),
      ends('max_tokens'),
      stop,
    ],
    expect: answer({ replay: ['tool_use'] }),
  },
  {
    name: 'max_tokens behind a whole call, inside of the next',
    events: [
      start(),
      ...call(0, 'a'),
      opens(1, { type: 'tool_use', id: 'toolu_1', name: 'shell', input: {} }),
      delta(1, { type: 'input_json_delta', partial_json: '{"command": "rm' }),
      closes(1),
      ends('max_tokens'),
      stop,
    ],
    expect: ran(['tool_use', 'tool_use'], 'a'),
  },
  {
    name: 'the context window is full',
    events: [start(), ...text(0, 'x'), ends('model_context_window_exceeded'), stop],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'pause_turn',
    events: [start(), ...text(0, 'x'), ends('pause_turn'), stop],
    expect: answer({ replay: ['text'] }),
  },
  {
    name: 'a stop reason that nobody knows yet, behind a call',
    events: [start(), ...call(0), ends('future_reason'), stop],
    expect: ran(['tool_use']),
  },
  {
    name: 'a refusal before any output, which ends the attempt with its category',
    events: [
      start(),
      ends(
        'refusal',
        { output_tokens: 0 },
        { stop_details: { type: 'refusal', category: 'cyber', explanation: null } },
      ),
      stop,
    ],
    expect: final('OPLAB_MODEL_DECLINED', 1, {
      charge: [5, 2400, 0, 0],
      says: /category cyber/,
      refusal: { ...DECLINED, category: 'cyber' },
    }),
  },
  {
    name: 'a refusal behind a whole call, which is not run',
    events: [
      start(),
      ...thinking(0, ['hm'], 'c2ln'),
      ...call(1),
      ends('refusal', undefined, { stop_details: { type: 'refusal', category: null, explanation: 'made up' } }),
      stop,
    ],
    expect: final('OPLAB_MODEL_DECLINED', 1, { says: /declined to continue: made up/, refusal: DECLINED }),
  },
  {
    name: 'a refusal of a category that nobody knows yet',
    events: [start(), ends('refusal', undefined, { stop_details: { type: 'refusal', category: 'future' } }), stop],
    expect: final('OPLAB_MODEL_DECLINED', 1, { says: /category future/, refusal: { ...DECLINED, category: 'future' } }),
  },
  {
    name: 'a refusal without details',
    events: [start(), ends('refusal', undefined, { stop_details: undefined }), stop],
    expect: final('OPLAB_MODEL_DECLINED', 1, { says: /declined to continue/ }),
  },
];

const unknownThings: readonly Case[] = [
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

const usages: readonly Case[] = [
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

const failures: readonly Case[] = [
  {
    name: 'overload in the middle passes, and is not charged by max_tokens',
    events: [start(), ...text(0, 'x'), error('overloaded_error')],
    expect: { verdict: 'again', outputAtMost: 10 },
  },
  {
    name: 'overload before any output is free',
    events: [start(), ping, error('overloaded_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  {
    name: 'overload before the message',
    events: [error('overloaded_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  {
    name: 'a failure inside of the API passes',
    events: [start(), error('api_error')],
    expect: { verdict: 'again', charge: 'nothing' },
  },
  { name: 'a timeout passes', events: [start(), error('timeout_error')], expect: { verdict: 'again' } },
  { name: 'a rate limit passes', events: [start(), error('rate_limit_error')], expect: { verdict: 'again' } },
  { name: 'a type that nobody knows passes', events: [start(), error('future_error')], expect: { verdict: 'again' } },
  {
    name: 'a spend limit told by a code alone does not pass',
    events: [start(), error('rate_limit_error', { details: { error_code: 'enforced_spend_limit_reached' } })],
    expect: final('OPLAB_MODEL_ACCOUNT', 1),
  },
  { name: 'billing does not pass', events: [start(), error('billing_error')], expect: final('OPLAB_MODEL_ACCOUNT', 1) },
  {
    name: 'a refused request does not pass',
    events: [start(), error('invalid_request_error')],
    expect: final('OPLAB_MODEL_REFUSED', 1),
  },
  {
    name: 'a permission does not pass',
    events: [start(), error('permission_error')],
    expect: final('OPLAB_MODEL_KEY_REFUSED', 1),
  },
  {
    name: 'a key that is withdrawn in the middle does not pass',
    events: [start(), ...text(0, 'x'), error('authentication_error')],
    expect: final('OPLAB_MODEL_KEY_REFUSED', 1),
  },
  {
    name: 'a model that is withdrawn does not pass',
    events: [start(), error('not_found_error')],
    expect: final('OPLAB_MODEL_UNKNOWN', 1),
  },
  {
    name: 'a stream that begins twice ends by name',
    events: [start(), start(), ...text(0, 'x'), ends('end_turn'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3, { says: /failed 3 times/ }),
  },
  {
    name: 'a stream without a message',
    events: [stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  { name: 'a stream of nothing', events: '', expect: final('OPLAB_MODEL_REFUSED', 3) },
  {
    name: 'a part of a block that was not begun',
    events: [start(), delta(4, { type: 'text_delta', text: 'x' }), ends('end_turn'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'data that is not JSON',
    events: 'event: message_start\ndata: {"type": "message_start", "message": \n\n',
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'a call whose input is not JSON, in a whole answer',
    events: [start(), ...tool(0, 'shell', ['{"command": rm']), ends('tool_use'), stop],
    expect: final('OPLAB_MODEL_REFUSED', 3),
  },
  {
    name: 'an end without message_stop',
    events: [start(), ...text(0, 'x'), ends('end_turn')],
    expect: final('OPLAB_MODEL_REFUSED', 3, { charge: WHOLE }),
  },
  {
    name: 'a connection that is reset in a block is asked again',
    events: [start(), opens(0, { type: 'text', text: '' }), delta(0, { type: 'text_delta', text: 'half' })],
    expect: { verdict: 'again', outputAtMost: 2100 },
    reset: true,
  },
  {
    name: 'a connection that is reset behind its head is asked again',
    events: [start()],
    expect: { verdict: 'again', outputAtMost: 2100 },
    reset: true,
  },
];

/** The lines of a small answer, which each case of the syntax writes in its own way. */
const small = [start(), ...text(0, 'x'), ends('end_turn'), stop];
const lines = (format: (type: string, data: string) => string) =>
  small.map((event) => format(event.type, JSON.stringify(event))).join('');
const syntax: readonly Case[] = (
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
const noStreams: readonly Case[] = [
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

/** All recordings, by their kind. */
export const RECORDINGS: Readonly<Record<string, readonly Case[]>> = {
  'a whole answer': wholeAnswers,
  'an end of an answer': stopReasons,
  'what is new': unknownThings,
  'a usage': usages,
  'a failure': failures,
  'a syntax': syntax,
  'an answer that is no stream': noStreams,
};
