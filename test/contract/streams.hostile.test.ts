// Answers that no model API gives by intent: counts that are none, blocks without their fields, faults
// told in other words each time, waits in every spelling, and errors that repeat the credential.

import { describe, expect, it } from 'vitest';
import { MODEL_KEY } from '../support/fake-model-api.ts';
import { type ChainResult, runModelChain, type UpstreamReply } from '../support/model-chain.ts';
import { answerWith, claim } from './answers.ts';

const USAGE = { input_tokens: 9, output_tokens: 1 };
const start = (usage: unknown = USAGE) => ({
  type: 'message_start',
  message: {
    ...{ id: 'msg_hostile', type: 'message', role: 'assistant', model: 'x', content: [] },
    ...{ stop_reason: null, stop_sequence: null, usage },
  },
});
const block = (content_block: unknown, ...deltas: readonly object[]) => [
  { type: 'content_block_start', index: 0, content_block },
  ...deltas.map((delta) => ({ type: 'content_block_delta', index: 0, delta })),
  { type: 'content_block_stop', index: 0 },
];
const said = block({ type: 'text', text: '' }, { type: 'text_delta', text: 'x' });
const ends = (usage: unknown = { output_tokens: 20 }, stop_reason = 'end_turn', stop_details: unknown = null) => ({
  type: 'message_delta',
  delta: { stop_reason, stop_sequence: null, stop_details },
  usage,
});
const stop = { type: 'message_stop' };
const error = (type: string, message: string) => ({ type: 'error', error: { type, message } });

/** A stream of events, or of lines as they are. */
const stream =
  (events: readonly (string | { readonly type: string })[], headers: Record<string, string> = {}): UpstreamReply =>
  (response) => {
    const lines = events.map((event) =>
      typeof event === 'string' ? event : `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
    );
    response.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).end(lines.join(''));
  };
const reply =
  (status: number, body: unknown, headers: Record<string, string> = {}): UpstreamReply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  };
const thenClaim = (...replies: readonly UpstreamReply[]) => runModelChain({ replies: [...replies, answerWith(claim)] });

describe.concurrent('a count that is none costs what was expected, and not nothing', () => {
  it.each<[string, unknown, unknown]>([
    ['negative', { input_tokens: -5, output_tokens: -1 }, { output_tokens: -20 }],
    ['too large', { input_tokens: 9e15, output_tokens: 1 }, { output_tokens: 9e15 }],
    ['beyond the numbers', { input_tokens: 1e300, output_tokens: 1 }, { output_tokens: 1e300 }],
    ['a text', { input_tokens: '9', output_tokens: '1' }, { output_tokens: '20' }],
    ['a list', [], []],
    ['zero for a prompt', { input_tokens: 0, output_tokens: 0 }, { output_tokens: 20 }],
  ])('%s', async (_name, first, last) => {
    const { charges, conclusions } = await thenClaim(stream([start(first), ...said, ends(last), stop]));
    expect(conclusions).toHaveLength(1);
    const { inputTokens = 0, cacheWriteTokens = 0, costMicroUSD = 0, turn } = charges[0] ?? {};
    expect(turn).toBe(true);
    expect(inputTokens + cacheWriteTokens).toBeGreaterThan(1000);
    expect(costMicroUSD).toBeLessThan(100_000);
  });

  it('a fraction is rounded up', async () => {
    const { charges } = await thenClaim(
      stream([start({ input_tokens: 9.5, output_tokens: 1 }), ...said, ends({ output_tokens: 20.5 }), stop]),
    );
    expect(charges[0]).toMatchObject({ inputTokens: 10, outputTokens: 21 });
  });
});

describe.concurrent('a block without its fields does not end the process of the agent', () => {
  it.each<[string, unknown, ...object[]]>([
    ['a text that is null', { type: 'text', text: null }],
    ['a text that is missing', { type: 'text' }],
    ['thinking without texts', { type: 'thinking' }, { type: 'thinking_delta', thinking: 'x' }],
  ])('%s is empty', async (_name, content_block, ...deltas) => {
    const result = await thenClaim(stream([start(), ...block(content_block, ...deltas), ends(), stop]));
    expect(result).toMatchObject({ report: undefined, conclusions: [{}], exitCode: 0 });
    const [thought] = result.entries.filter(({ kind }) => kind === 'reasoning');
    expect(thought?.content).toBe(deltas.length === 0 ? undefined : 'x');
    expect(JSON.stringify(result.asked[1])).not.toMatch(/undefinedx|nullx|"thinking":"/);
  });

  it.each<[string, unknown]>([
    ['no block', null],
    ['a call without a name', { type: 'tool_use', id: 't', input: {} }],
    ['a call without an ID', { type: 'tool_use', name: 'shell', input: { command: 'a', purpose: 'b' } }],
  ])('%s is a fault, which ends the attempt by name if it stays', async (_name, content_block) => {
    const bad = stream([start(), ...block(content_block), ends(undefined, 'tool_use'), stop]);
    const { commands, report, asked } = await runModelChain({ replies: [bad] });
    expect([commands, asked.length]).toEqual([[], 3]);
    expect(report).toMatchObject({ code: 'OPLAB_MODEL_REFUSED' });
    expect(await thenClaim(bad)).toMatchObject({ report: undefined, conclusions: [{}] });
  });

  it('a refusal with odd details', async () => {
    const details = { type: 'refusal', category: { a: 1 }, explanation: 5 };
    const odd = stream([start(), ends(undefined, 'refusal', details), stop]);
    expect((await runModelChain({ replies: [odd] })).report).toMatchObject({
      code: 'OPLAB_MODEL_DECLINED',
      message: 'claude-opus-5-5 declined to continue',
    });
  });

  it('a text of 10 MB is recorded in part', async () => {
    const text = 'x'.repeat(10_000_000);
    const long = stream([start(), ...block({ type: 'text', text }), ends(), stop]);
    const { entries, exitCode } = await runModelChain({ replies: [long, answerWith(claim)], deadlineMs: 60_000 });
    expect(exitCode).toBe(0);
    expect(entries.find(({ kind }) => kind === 'reasoning')?.content).toMatch(/^xxx.*truncated/);
  });
});

describe.concurrent('faults that are told in other words each time end the attempt', () => {
  it.each<[string, (index: number) => UpstreamReply]>([
    [
      'an input that is not JSON',
      (index) =>
        stream([
          start(),
          ...block(
            { type: 'tool_use', id: 't', name: 'shell', input: {} },
            { type: 'input_json_delta', partial_json: `{"command": "${'x'.repeat(index)}" oops` },
          ),
          ends(undefined, 'tool_use'),
          stop,
        ]),
    ],
    ['an answer with an ID that is no message', (index) => reply(200, { id: `req_${index}` })],
    [
      'two faults in turn',
      (index) => (index % 2 === 0 ? stream([start(), start(), stop]) : stream([start(), ...said])),
    ],
  ])(
    '%s',
    async (_name, bad) => {
      const { asked, report } = await thenClaim(...Array.from({ length: 12 }, (_, index) => bad(index)));
      expect(report).toMatchObject({ code: 'OPLAB_MODEL_REFUSED', message: expect.stringContaining('6 times') });
      expect(asked).toHaveLength(6);
    },
    30_000,
  );
});

describe.concurrent('a wait in any spelling', () => {
  const limited = (headers: Record<string, string>) => reply(429, error('rate_limit_error', 'x'), headers);
  const date = (seconds: number) => new Date(Date.now() + seconds * 1000).toUTCString();
  it.each<[Record<string, string>]>([
    [{ 'retry-after': date(1) }],
    [{ 'retry-after': date(-3600) }],
    [{ 'retry-after': '-1' }],
    [{ 'retry-after': 'soon' }],
    [{ 'retry-after': '' }],
    [{ 'retry-after': '0.5' }],
    [{ 'retry-after': '3600', 'retry-after-ms': '50' }],
  ])('%j passes', async (headers) => {
    const result = await thenClaim(limited(headers));
    expect(result).toMatchObject({ report: undefined, troubles: ['RateLimited', 'none'] });
  });

  it.each<[Record<string, string>]>([[{ 'retry-after': date(3600) }], [{ 'retry-after-ms': '3600000' }]])(
    '%j is longer than the Incident has left',
    async (headers) => {
      const { asked, report } = await runModelChain({ replies: [limited(headers)] });
      expect(asked).toHaveLength(1);
      expect(report?.message).toMatch(/asks to wait for 3[56]\d\d s, longer than the Incident has left/);
    },
  );
});

describe.concurrent('the credential is in no report, status or entry, wherever the API repeats it', () => {
  const edge = 'z '.repeat(243);
  const declined = { type: 'refusal', category: MODEL_KEY, explanation: MODEL_KEY };
  it.each<[string, UpstreamReply]>([
    ['an error', reply(401, error('authentication_error', `invalid x-api-key: ${MODEL_KEY}`))],
    ['an error that is cut in the middle of it', reply(400, error('invalid_request_error', edge + MODEL_KEY))],
    ['an error that is no JSON', reply(404, `${'q'.repeat(490)}${MODEL_KEY}`)],
    ['an error inside of a stream', stream([start(), error('authentication_error', MODEL_KEY)])],
    ['an error behind an output', stream([start(), ...said, error('invalid_request_error', MODEL_KEY)])],
    ['an error that is no JSON, inside of a stream', stream([start(), `event: error\ndata: ${MODEL_KEY}\n\n`])],
    ['a refusal', stream([start(), ends(undefined, 'refusal', declined), stop], { 'request-id': MODEL_KEY })],
    ['an answer that is no message', reply(200, { headers: { 'x-api-key': MODEL_KEY } })],
  ])(
    '%s',
    async (_name, bad) => {
      const { report, entries }: ChainResult = await runModelChain({ replies: [bad], deadlineMs: 12_000 });
      expect(report).toBeDefined();
      expect(JSON.stringify({ report, entries })).not.toContain(MODEL_KEY.slice(0, 14));
    },
    20_000,
  );
});

describe.concurrent('an error keeps its meaning', () => {
  it('when its body is too large, or cut off', async () => {
    const large = await runModelChain({ replies: [reply(401, 'x'.repeat(40_000_000))] });
    expect(large).toMatchObject({ report: { code: 'OPLAB_MODEL_KEY_REFUSED' }, asked: [{}] });
    const cut = await runModelChain({
      replies: [reply(401, '{"type":', { 'content-length': '99' })],
      deadlineMs: 9000,
    });
    expect(cut).toMatchObject({ report: { code: 'OPLAB_MODEL_KEY_REFUSED' }, asked: [{}] });
  });

  it('inside of a stream, whatever its form', async () => {
    const busy = ['overloaded', '{"type":"error","message":"x"}', '{"error":{"type":"overloaded_error"}}'];
    for (const data of busy) {
      const { charges, troubles } = await thenClaim(stream([start(), `event: error\ndata: ${data}\n\n`]));
      expect(charges[0]).toMatchObject({ costMicroUSD: 0, turn: false });
      expect(troubles.at(0)).toMatch(/ServerError|Overloaded/);
    }
  });

  it('without what a terminal obeys or a reader does not see', async () => {
    const text = 'bad \u001b[31mred\u001b]8;;http://x\u0007\u0000\u200b\u202e';
    const { report } = await runModelChain({ replies: [reply(400, error('invalid_request_error', text))] });
    expect(report?.message).toMatch(/^[^\p{Cc}\p{Cf}]+$/u);
  });
});

it('the media type of an answer may be written in any case', async () => {
  const { charges } = await thenClaim(
    stream([start(), ...said, ends(), stop], { 'content-type': 'Text/Event-Stream' }),
  );
  expect(charges[0]).toMatchObject({ inputTokens: 9, outputTokens: 20 });
});

it('a conversation that filled the window is trimmed before the next question', async () => {
  const looks = answerWith({
    calls: Array.from({ length: 10 }, (_, index) => ({ name: 'shell', input: { command: `c${index}`, purpose: 'x' } })),
  });
  const full = stream([start(), ...said, ends(undefined, 'model_context_window_exceeded'), stop]);
  const { asked } = await runModelChain({
    replies: [looks, full, answerWith(claim)],
    output: () => 'a line of a long list\n'.repeat(200),
  });
  const [, before = 0, after = 0] = asked.map(({ messages }) => JSON.stringify(messages).length);
  expect(after).toBeLessThan(before * 0.7);
});

it('words without an end are cut in the record of the call', async () => {
  const endless = stream([start(), ...said, ends(undefined, 's'.repeat(100_000)), stop], {
    'request-id': 'r'.repeat(8000),
  });
  const { entries, conclusions } = await thenClaim(endless);
  expect(conclusions).toHaveLength(1);
  const call = entries.find(({ kind }) => kind === 'model_call');
  expect(call?.params).toMatchObject({
    requestId: expect.stringMatching(/^r+…$/),
    stopReason: expect.stringMatching(/^s+…$/),
  });
  expect(JSON.stringify(call).length).toBeLessThan(2000);
});
