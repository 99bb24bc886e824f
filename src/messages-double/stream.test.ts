// Streams: the events of the API in its order, which add up to the message that a question without a
// stream is answered with.

import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { Reply } from './double.ts';
import { type DoubleServer, startDouble } from './server.ts';

let reply: Reply;
let server: DoubleServer;
let client: Anthropic;
beforeAll(async () => {
  server = await startDouble({ answer: () => reply, now: () => 0, displayName: (id) => `the double of ${id}` });
  client = new Anthropic({ baseURL: server.url, apiKey: 'any', maxRetries: 0, logLevel: 'off' });
});
afterAll(() => server.close());

const call = {
  type: 'tool_use',
  name: 'shell',
  input: { command: 'echo "ä 😀"', purpose: 'see', timeout_seconds: 5, list: [1, { a: '}' }] },
} as const;
const question: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'claude-opus-5-5',
  max_tokens: 1000,
  thinking: { type: 'adaptive', display: 'summarized' },
  tools: [
    { name: 'shell', input_schema: { type: 'object' } },
    { name: 'conclude', input_schema: { type: 'object' }, eager_input_streaming: true },
  ],
  messages: [{ role: 'user', content: 'hello' }],
};

async function events(body: object): Promise<Anthropic.RawMessageStreamEvent[]> {
  const found: Anthropic.RawMessageStreamEvent[] = [];
  await client.messages
    .stream({ ...question, ...body })
    .on('streamEvent', (event) => found.push(event))
    .finalMessage();
  return found;
}
const partials = (found: readonly Anthropic.RawMessageStreamEvent[]) =>
  found.flatMap((event) =>
    event.type === 'content_block_delta' && event.delta.type === 'input_json_delta' ? [event.delta.partial_json] : [],
  );

describe('a stream', () => {
  it('adds up to the answer without one', async () => {
    for (const content of [
      [{ type: 'text', text: 'a 😀 '.repeat(50) }, call, call],
      [{ type: 'text', text: 'b' }],
      [],
    ] as const) {
      reply = { thinking: 'I look.'.repeat(20), content };
      const whole = await client.messages.create(question);
      const streamed = await client.messages.stream(question).finalMessage();
      expect(streamed.content).toEqual(whole.content);
      expect(streamed).toMatchObject({ id: whole.id, stop_reason: whole.stop_reason, usage: whole.usage });
      // The same question has the same answer.
      expect(await client.messages.create(question)).toEqual(whole);
    }
  });

  it('begins with what the prompt is, pings, and ends with the whole usage', async () => {
    reply = { thinking: 'I look.', content: [{ type: 'text', text: 'First the pods.' }] };
    const response = await fetch(`${server.url}/v1/messages`, {
      method: 'POST',
      headers: { 'anthropic-version': '2026-10-21', 'content-type': 'application/json' },
      body: JSON.stringify({ ...question, stream: true }),
    });
    expect(response.headers.get('request-id')).toMatch(/^req_/);
    const text = await response.text();
    const lines = text.split('\n').filter((line) => line.startsWith('data: '));
    const parsed = lines.map((line) => z.looseObject({ type: z.string() }).parse(JSON.parse(line.slice(6))));
    expect(parsed.map(({ type }) => type).filter((type) => type !== 'content_block_delta')).toEqual([
      ...['message_start', 'content_block_start', 'ping', 'content_block_stop'],
      ...['content_block_start', 'content_block_stop', 'message_delta', 'message_stop'],
    ]);
    expect(parsed[0]).toMatchObject({
      message: { stop_reason: null, content: [], usage: { input_tokens: expect.any(Number), output_tokens: 1 } },
    });
    expect(parsed.at(-2)).toMatchObject({
      delta: { stop_reason: 'end_turn', stop_details: null },
      usage: { input_tokens: expect.any(Number), output_tokens_details: { thinking_tokens: 3 } },
    });
    // Some lines are padded.
    expect(lines.some((line) => / +\}$/.test(line))).toBe(true);
  });

  it('holds a parameter of a call back until it is whole, unless the tool is eager', async () => {
    reply = { content: [call] };
    expect(partials(await events({}))).toEqual([
      ...['', '{"command": "echo \\"ä 😀\\""', ', "purpose": "see"', ', "timeout_seconds": 5'],
      ...[', "list": [1,{"a":"}"}]', '}'],
    ]);
    reply = { content: [{ ...call, name: 'conclude' }] };
    const eager = partials(await events({}));
    expect(JSON.parse(eager.join(''))).toEqual(call.input);
    expect(eager[1]).toBe('{"command":"echo \\"ä 😀\\"');
    reply = { content: [{ ...call, input: {} }] };
    expect(partials(await events({}))).toEqual(['', '{}']);
  });

  it('is cut off at max_tokens: in a thought, a text, or a call', async () => {
    reply = { thinking: 'I look. '.repeat(100), content: [{ type: 'text', text: 'a'.repeat(400) }, call] };
    const cut = async (max_tokens: number) => client.messages.stream({ ...question, max_tokens }).finalMessage();
    const thought = await cut(50);
    expect(thought).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 50 } });
    expect(thought.content).toMatchObject([{ type: 'thinking', signature: '' }]);
    expect((await cut(290)).content.map(({ type }) => type)).toEqual(['thinking', 'text']);
    const inCall = await events({ max_tokens: 340 });
    expect(inCall.slice(-2).map(({ type }) => type)).toEqual(['message_delta', 'message_stop']);
    expect(inCall.at(-3)?.type).toBe('content_block_delta');
    expect(() => JSON.parse(partials(inCall).join(''))).toThrow();
    expect((await cut(1000)).stop_reason).toBe('tool_use');
  });

  it('is one body if the server behind the double does not stream', async () => {
    reply = { content: [call], whole: true };
    const response = await client.messages.create({ ...question, stream: true }).asResponse();
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toMatchObject({ type: 'message', stop_reason: 'tool_use' });
  });
});

describe('the other addresses', () => {
  it('tell a model, and the tokens of a prompt', async () => {
    expect(await client.models.retrieve('claude-haiku-4-5')).toMatchObject({
      display_name: 'the double of claude-haiku-4-5',
      max_input_tokens: 200_000,
      max_tokens: 64_000,
    });
    reply = { content: [{ type: 'text', text: 'a' }] };
    const { max_tokens: _, ...prompt } = question;
    const { input_tokens } = await client.messages.countTokens(prompt);
    expect((await client.messages.create(question)).usage.input_tokens).toBe(input_tokens);
    await expect(client.models.list()).rejects.toMatchObject({ status: 404, type: 'not_found_error' });
  });

  it('fail with the error of the API if what answers fails', async () => {
    reply = { error: { type: 'permission_error', message: 'not you' } };
    await expect(client.messages.create(question)).rejects.toMatchObject({ status: 403, apiMessage: 'not you' });
  });
});
