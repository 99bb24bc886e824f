// The scripted model: strict about what it is asked, and with the answers, refusals and faults that a
// test wants.

import Anthropic from '@anthropic-ai/sdk';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { conclude, type ScriptedModel, shell, startScriptedModel } from './scripted-model.ts';

let model: ScriptedModel;
let client: Anthropic;
beforeEach(async () => {
  model = await startScriptedModel();
  const baseURL = `http://127.0.0.1:${model.port}`;
  client = new Anthropic({ baseURL, apiKey: 'a-key', maxRetries: 0, logLevel: 'off' });
});
afterEach(() => model.close());

const question: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'scripted-1',
  max_tokens: 4000,
  tools: [{ name: 'shell', input_schema: { type: 'object' } }],
  messages: [{ role: 'user', content: 'hello' }],
};
const ask = (more: Partial<typeof question> = {}) => client.messages.stream({ ...question, ...more }).finalMessage();

it('plays its script, then gives up', async () => {
  model.play(shell('a', 'b'), conclude('fixed'));
  const calls = async () => (await ask()).content.map((block) => (block.type === 'tool_use' ? block.input : block));
  expect(await calls()).toMatchObject([{ command: 'a' }, { command: 'b' }]);
  expect(await calls()).toMatchObject([{ outcome: 'fixed' }]);
  expect(await calls()).toMatchObject([{ outcome: 'cannot_fix' }]);
  expect(model.requests).toHaveLength(3);
  expect(model.headers[0]).toMatchObject({ authorization: 'Bearer a-key' });
});

it('thinks and takes an effort if it is asked to, and signs its thoughts', async () => {
  const thinking = { type: 'adaptive', display: 'summarized' } as const;
  const { content } = await ask({ thinking, output_config: { effort: 'max' } });
  expect(content).toMatchObject([
    { type: 'thinking', signature: expect.stringMatching(/.{30}/) },
    { type: 'tool_use' },
  ]);
  expect((await ask()).content).toMatchObject([{ type: 'tool_use' }]);
});

it('refuses and remembers what the API refuses, and leaves the script alone', async () => {
  model.play(shell('a'));
  await expect(ask({ messages: [] })).rejects.toMatchObject({ status: 400 });
  expect(model.refused).toEqual(['messages: at least one message is required']);
  expect(model.requests).toEqual([]);
  model.fault = 'overloaded';
  await expect(ask()).rejects.toMatchObject({ status: 529 });
  model.fault = undefined;
  model.refusal = { type: 'authentication_error', message: 'invalid x-api-key' };
  await expect(ask()).rejects.toMatchObject({ status: 401 });
  model.refusal = undefined;
  expect((await ask()).content).toMatchObject([{ input: { command: 'a' } }]);
});

it('declines for a model, answers in one body, and does not tell its models', async () => {
  model.declines = 'scripted-1';
  expect(await ask()).toMatchObject({ stop_reason: 'refusal', content: [] });
  model.declines = undefined;
  model.answers = 'json';
  const response = await client.messages.create({ ...question, stream: true }).asResponse();
  expect(response.headers.get('content-type')).toBe('application/json');
  const told = await client.models
    .retrieve('scripted-1')
    .asResponse()
    .catch((error: unknown) => error);
  expect(told).toMatchObject({ status: 404, error: undefined });
});
