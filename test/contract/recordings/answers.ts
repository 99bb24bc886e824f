// Whole answers, and the ways in which an answer ends.

import {
  answer,
  type Case,
  call,
  closes,
  DECLINED,
  delta,
  ends,
  final,
  opens,
  ping,
  ran,
  start,
  stop,
  text,
  thinking,
  tool,
  USAGE,
} from './events.ts';

export const wholeAnswers: readonly Case[] = [
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

export const stopReasons: readonly Case[] = [
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
