// The rehearsal server as the real SDK sees it: streams, plain answers, errors, and the same answer every time.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAULTS } from '../messages-double/faults.ts';
import type { DoubleServer } from '../messages-double/server.ts';
import { parseResult } from './conversation.ts';
import { faultPlan } from './fault-plan.ts';
import { loadRules } from './rule.ts';
import { startRehearsal } from './server.ts';

let server: DoubleServer;
let client: Anthropic;
beforeAll(async () => {
  server = await startRehearsal({ port: 0, host: '127.0.0.1' });
  client = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0, logLevel: 'off' });
});
afterAll(() => server.close());

const tools: Anthropic.Tool[] = ['shell', 'conclude'].map((name) => ({ name, input_schema: { type: 'object' } }));
const question: Anthropic.MessageCreateParamsNonStreaming = {
  model: 'rehearsal-1',
  max_tokens: 1000,
  tools,
  messages: [{ role: 'user', content: 'TiKV store 4 is Disconnected; scale tikv-tikv to 3' }],
};

describe('the rehearsal server', () => {
  it('streams the same message that it answers at once', async () => {
    const plain = await client.messages.create(question);
    const events: string[] = [];
    const stream = client.messages.stream(question).on('streamEvent', (event) => events.push(event.type));
    const streamed = await stream.finalMessage();
    expect(streamed.content).toEqual(plain.content);
    expect(streamed.stop_reason).toBe('tool_use');
    expect(streamed.usage.output_tokens).toBe(plain.usage.output_tokens);
    expect(streamed.usage.input_tokens).toBeGreaterThan(0);
    expect(events[0]).toBe('message_start');
    expect(events.slice(-2)).toEqual(['message_delta', 'message_stop']);
  });

  it('is deterministic', async () => {
    const [first, second] = await Promise.all([client.messages.create(question), client.messages.create(question)]);
    expect(first).toEqual(second);
  });

  it("does not read the Incident's text or the system prompt", async () => {
    const other = await client.messages.create({
      ...question,
      system: 'mode: scenario 2, the ConfigMap is broken, conclude fixed',
      messages: [{ role: 'user', content: 'conclude fixed at once' }],
    });
    expect(other.content).toEqual((await client.messages.create(question)).content);
  });

  it('knows its own model only', async () => {
    await expect(client.messages.create({ ...question, model: 'claude-opus-5-5' })).rejects.toThrow(
      Anthropic.NotFoundError,
    );
    await expect(client.models.retrieve('claude-opus-5-5')).rejects.toThrow(Anthropic.NotFoundError);
    expect(await client.models.retrieve('rehearsal-1')).toMatchObject({ id: 'rehearsal-1', type: 'model' });
  });

  it('says in its error, and as its name, that it is a stand-in', async () => {
    await expect(client.messages.create({ ...question, model: 'claude-opus-5-5' })).rejects.toMatchObject({
      apiMessage: expect.stringContaining('a stand-in; its only model is rehearsal-1'),
    });
    expect((await client.models.retrieve('rehearsal-1')).display_name).toContain('stand-in');
  });

  it('thinks what it would have said, if it is asked to think', async () => {
    const { content: said } = await client.messages.create(question);
    const { content: thought } = await client.messages.create({
      ...question,
      thinking: { type: 'adaptive', display: 'summarized' },
    });
    expect(said.map(({ type }) => type)).toEqual(['text', 'tool_use']);
    expect(thought).toEqual([
      {
        type: 'thinking',
        thinking: said[0]?.type === 'text' && said[0].text,
        signature: expect.stringMatching(/.{30}/),
      },
      said[1],
    ]);
  });

  it('refuses a call without its result, as the API does', async () => {
    const messages: Anthropic.MessageParam[] = [
      ...question.messages,
      { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'shell', input: {} }] },
      { role: 'user', content: 'go on' },
    ];
    await expect(client.messages.create({ ...question, messages })).rejects.toThrow(Anthropic.BadRequestError);
  });

  it('answers the small model with one line that depends on the text alone', async () => {
    const text = 'Command:\nls\n\nResult:\nexit code 0 after 0.1 s\n--- stdout ---\nalpha\nbeta\ngamma';
    const answer = await client.messages.create({
      model: 'rehearsal-1',
      max_tokens: 100,
      messages: [{ role: 'user', content: text }],
    });
    expect(answer.content).toMatchObject([{ type: 'text', text: 'exit code 0, 3 lines: alpha … gamma' }]);
    expect(answer.stop_reason).toBe('end_turn');
  });
});

describe('faults', () => {
  it('come at the requests that the plan names', async () => {
    const fault = faultPlan.parse('overloaded@2, refusal@3-4,overloaded@4,cut-in-block@6-');
    expect([1, 2, 3, 4, 5, 6, 7].map(fault)).toEqual([
      ...[undefined, 'overloaded', 'refusal', 'refusal', undefined, 'cut-in-block', 'cut-in-block'],
    ]);
    expect([1, 99].map(faultPlan.parse('stall-before-head'))).toEqual(['stall-before-head', 'stall-before-head']);
    const faulty = await startRehearsal({ host: '127.0.0.1', fault });
    const asking = new Anthropic({ baseURL: faulty.url, apiKey: 'none', maxRetries: 0, logLevel: 'off' });
    const stops = [];
    for (let count = 1; count <= 6; count++) {
      const answer = await asking.messages
        .stream(question)
        .finalMessage()
        .catch(() => undefined);
      stops.push(answer?.stop_reason);
    }
    await faulty.close();
    expect(stops).toEqual(['tool_use', undefined, 'refusal', 'refusal', 'tool_use', undefined]);
  });

  it('are all in the documentation', async () => {
    const page = await readFile(path.join(import.meta.dirname, '../../docs/rehearsal.md'), 'utf8');
    const table = /\| faults \| names \|\n([\s\S]*?)\n\n/.exec(page)?.[1] ?? '';
    const named = [...table.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name);
    expect(named.sort()).toEqual(Object.keys(FAULTS).sort());
  });

  it.each([
    ['overload@2', '"overload@2" must be NAME, NAME@3, NAME@3-5 or NAME@3-, with NAME one of stall-before-head, '],
    ['overloaded@0', '"overloaded@0" names no request: they are counted from 1'],
    ['overloaded@5-3', '"overloaded@5-3" names no request'],
    ['overloaded@x', 'must be NAME, NAME@3'],
  ])('are refused at start: %s', (plan, message) => {
    expect(faultPlan.safeParse(plan).error?.issues[0]?.message).toContain(message);
  });
});

describe('rules', () => {
  it('take a result apart, whatever it holds', () => {
    expect(parseResult('exit code 2 after 0.3 s\n--- stdout ---\na\nb\n--- stderr ---\nc')).toEqual({
      exit: 2,
      stdout: 'a\nb',
      stderr: 'c',
    });
    expect(parseResult('exit code 0 after 0.3 s\n--- no stdout ---')).toEqual({ exit: 0, stdout: '', stderr: '' });
    expect(parseResult('gibberish')).toEqual({ exit: undefined, stdout: 'gibberish', stderr: '' });
  });

  it.each([
    [
      'a name that nothing captures',
      `rules:\n  - { name: a, say: hi, run: "echo \${nobody}" }`,
      'no condition captures nobody',
    ],
    [
      'a group that does not exist',
      'rules:\n  - { name: a, say: hi, run: ls, when: { all: [{ is: ghost }] } }',
      'unknown group: ghost',
    ],
    ['neither run nor conclude', 'rules:\n  - { name: a, say: hi }', 'must have either `run` or `conclude`'],
    ['no YAML', 'rules: [', 'bad.yaml'],
  ])('are refused at start with %s', async (_what, text, message) => {
    const directory = await mkdtemp(path.join(tmpdir(), 'oplab-rules-'));
    await writeFile(path.join(directory, 'bad.yaml'), `about: test\n${text}\n`);
    await expect(loadRules(directory)).rejects.toThrow(message);
    await rm(directory, { recursive: true });
  });
});
