// Failures of the model that do not pass: the attempt ends at once, and its report says why.

import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import {
  attempt,
  type Content,
  conclude,
  kinds,
  messageStart,
  modelRequest,
  type Reply,
  send,
  shell,
} from '../../test/support/attempt-harness.ts';
import { refuse } from '../../test/support/fake-gateway.ts';
import { formatAgentReport, isFinalReport, readAgentReport } from '../api/agent-report.ts';
import type { ErrorCode } from '../error-codes.ts';

const stream =
  (...events: readonly object[]): Reply =>
  (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(
      events.map((event) => `event: ${'type' in event ? event.type : ''}\ndata: ${JSON.stringify(event)}\n\n`).join(''),
    );
  };
const stop = { type: 'message_stop' };
const told = (type: string) => stream({ type: 'error', error: { type, message: 'made up' } });
const final =
  (code: ErrorCode): Reply =>
  (response) =>
    void refuse(response, 424, code, { 'x-should-retry': 'false' });
const apiRefusal =
  (status: number, message: string): Reply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message } }));
  };

it.each<[string, ErrorCode, Reply]>([
  ['the key is refused', 'OPLAB_MODEL_KEY_REFUSED', final('OPLAB_MODEL_KEY_REFUSED')],
  ['the account may not spend more', 'OPLAB_MODEL_ACCOUNT', final('OPLAB_MODEL_ACCOUNT')],
  ['there is no such model', 'OPLAB_MODEL_UNKNOWN', final('OPLAB_MODEL_UNKNOWN')],
  ['the class does not allow it', 'OPLAB_MODEL_REFUSED', final('OPLAB_NOT_ALLOWED')],
  ['a final error is told inside of a stream', 'OPLAB_MODEL_ACCOUNT', told('billing_error')],
  ['a request is refused inside of a stream', 'OPLAB_MODEL_REFUSED', told('invalid_request_error')],
])('one call, and the reason is left: %s', async (_what, code, reply) => {
  const { gateway, reports, end } = await attempt({ replies: [reply] });
  expect(gateway.bodies).toHaveLength(1);
  expect(end).toMatchObject({ end: { reason: 'model-failed', code } });
  expect(reports).toMatchObject([{ code, message: expect.any(String) }]);
  expect(reports.every(isFinalReport)).toBe(true);
});

it('a token that is refused again and again ends this attempt, but not the Incident', async () => {
  const unproven: Reply = (response) => void refuse(response, 401, 'OPLAB_UNAUTHENTICATED');
  const { gateway, reports } = await attempt({ replies: Array(6).fill(unproven) });
  expect(gateway.bodies).toHaveLength(4);
  expect(reports).toMatchObject([{ code: 'OPLAB_UNAUTHENTICATED' }]);
  expect(reports.some(isFinalReport)).toBe(false);
});

it('a request that is too large for the gateway is too long a conversation', async () => {
  const tooLarge: Reply = (response) => void refuse(response, 413, 'OPLAB_TOO_LARGE', { 'x-should-retry': 'false' });
  expect((await attempt({ replies: [tooLarge] })).reports).toMatchObject([{ code: 'OPLAB_CONTEXT_FULL' }]);
});

describe('a stream that fails in the same way each time', () => {
  it.each<[string, Reply]>([
    ['begins twice', stream(messageStart, messageStart, stop)],
    ['has no message', stream(stop)],
  ])('ends the attempt after three calls: %s', async (_what, reply) => {
    const { gateway, reports } = await attempt({ replies: [reply, reply, reply, reply, reply] });
    expect(gateway.bodies).toHaveLength(3);
    expect(reports).toMatchObject([{ code: 'OPLAB_MODEL_REFUSED', message: expect.stringMatching(/failed 3 times/) }]);
  });

  it('goes on if it is overload, which passes', async () => {
    const busy = told('overloaded_error');
    const { gateway, reports } = await attempt({ replies: [busy, busy, busy, { content: [conclude()] }] });
    expect(gateway.conclusions).toHaveLength(1);
    expect(reports).toEqual([]);
  });

  it('goes on if it is another failure each time', async () => {
    const replies = [stream(stop), stream(messageStart, messageStart), stream(stop), { content: [conclude()] }];
    expect((await attempt({ replies })).gateway.conclusions).toHaveLength(1);
  });
});

it('waits as long as the API asks, and says that it does', async () => {
  const limited: Reply = (response) => {
    response.writeHead(429, { 'content-type': 'application/json', 'retry-after-ms': '400' });
    response.end(JSON.stringify({ type: 'error', error: { type: 'rate_limit_error', message: 'slow down' } }));
  };
  const started = performance.now();
  const { gateway } = await attempt({ replies: [limited, { content: [conclude()] }] });
  expect(gateway.conclusions).toHaveLength(1);
  expect(performance.now() - started).toBeGreaterThanOrEqual(400);
});

const thought = { type: 'thinking', thinking: 'hm', signature: 'c2ln' };
const request = (body: unknown) =>
  z.looseObject({ model: z.string(), thinking: z.unknown().optional(), messages: z.array(z.unknown()) }).parse(body);

describe('thinking that the API does not take back', () => {
  const bound = apiRefusal(400, 'messages.1.content.0: Invalid `signature` in `thinking` block');

  it('is left out, and then not asked for', async () => {
    const { gateway } = await attempt({
      task: { model: { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000, thinking: 'adaptive' } },
      replies: [{ content: [thought, shell('look')] }, bound, bound, { content: [conclude()] }],
    });
    expect(gateway.conclusions).toHaveLength(1);
    const asked = gateway.bodies.map(request).filter(({ model }) => model === 'scripted');
    expect(
      asked.map(({ messages, thinking }) => [/"thinking"/.test(JSON.stringify(messages)), thinking !== undefined]),
    ).toEqual([
      [false, true],
      [true, true],
      [false, true],
      [false, false],
    ]);
  });

  it('ends the attempt if there is none to leave out', async () => {
    const { gateway, reports } = await attempt({ replies: [bound, { content: [conclude()] }] });
    expect(gateway.bodies).toHaveLength(1);
    expect(reports).toMatchObject([{ code: 'OPLAB_THINKING_REFUSED' }]);
  });
});

describe('a model that declines', () => {
  const declines: Reply = stream(
    messageStart,
    {
      type: 'message_delta',
      delta: { stop_reason: 'refusal', stop_details: { type: 'refusal', category: 'cyber', explanation: null } },
      usage: { output_tokens: 1 },
    },
    stop,
  );

  it('ends the attempt with the category', async () => {
    const { gateway, reports } = await attempt({ replies: [declines, { content: [conclude()] }] });
    expect(gateway.bodies).toHaveLength(1);
    expect(reports).toEqual([
      {
        code: 'OPLAB_MODEL_DECLINED',
        message: expect.stringContaining('scripted declined to continue (category cyber)'),
        refusal: { model: 'scripted', category: 'cyber' },
      },
    ]);
  });

  it('is replaced once by the fallback model, on record, without its thoughts', async () => {
    const task = {
      model: { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000, fallbackName: 'claude-opus-4-8' },
    };
    const { gateway, reports } = await attempt({
      task,
      replies: [{ content: [thought, shell('look')] }, declines, { content: [conclude('cannot_fix')] }],
    });
    expect(reports).toEqual([]);
    expect(gateway.conclusions).toHaveLength(1);
    const asked = gateway.bodies.map(request).filter(({ model }) => model !== 'small');
    expect(asked.map(({ model }) => model)).toEqual(['scripted', 'scripted', 'claude-opus-4-8']);
    expect(JSON.stringify(asked[2]?.messages)).not.toContain('"thinking"');
    expect(modelRequest(gateway, gateway.bodies.length - 1).messages.at(-1)?.role).toBe('user');
    const fallback = gateway.entries.find(({ content }) => content?.includes('claude-opus-4-8 is asked instead'));
    expect(fallback).toMatchObject({ kind: 'lifecycle' });
    expect(kinds(gateway)).toContain('tool_result');

    const withoutThinking = { model: { ...task.model, thinking: 'off' as const } };
    const off = await attempt({ task: withoutThinking, replies: [declines, { content: [conclude()] }] });
    expect(off.gateway.bodies.map((body) => request(body).thinking)).toEqual([undefined, undefined]);

    const twice = await attempt({ task, replies: [declines, declines, { content: [conclude()] }] });
    expect(twice.reports).toMatchObject([
      { code: 'OPLAB_MODEL_DECLINED', message: expect.stringContaining('claude-opus-4-8 declined') },
    ]);
  });
});

it('sends what it sent before byte for byte, with at most four cache marks, two of them on messages', async () => {
  const many = Array.from({ length: 12 }, (_, index) => shell(`look ${index}`));
  const { gateway } = await attempt({
    replies: [
      { content: [thought, ...many] },
      { content: [shell('a')] },
      { content: [shell('b')] },
      { content: [conclude()] },
    ],
  });
  const asked = gateway.bodies.filter((body) => request(body).model === 'scripted');
  const mark = ',"cache_control":{"type":"ephemeral"}';
  const texts = asked.map((body) => JSON.stringify(request(body).messages));
  expect(texts.map((text) => text.split(mark).length - 1)).toEqual([1, 2, 2, 2]);
  expect(asked.map((body) => JSON.stringify(body).split(mark).length - 1)).toEqual([3, 4, 4, 4]);
  const plain = texts.map((text) => text.replaceAll(mark, ''));
  for (const [index, text] of plain.slice(1).entries()) {
    const before = plain[index] ?? '';
    expect(text.startsWith(before.slice(0, -1))).toBe(true);
  }
});

it.each([
  { cacheTtl: '1h', mark: { type: 'ephemeral', ttl: '1h' } },
  // Not every server of the API knows the field.
  { cacheTtl: '5m', mark: { type: 'ephemeral' } },
] as const)('asks for a cache of $cacheTtl if the class says so', async ({ cacheTtl, mark }) => {
  const model = { name: 'scripted', summaryName: 'small', maxOutputTokens: 1000, cacheTtl };
  const { gateway } = await attempt({
    task: { model },
    replies: [{ content: [shell('a')] }, { content: [conclude()] }],
  });
  for (const body of gateway.bodies) {
    const marks = JSON.stringify(body).match(/"cache_control":\{[^}]*\}/g) ?? [];
    expect(marks.length).toBeGreaterThan(2);
    expect([...new Set(marks)]).toEqual([`"cache_control":${JSON.stringify(mark)}`]);
  }
});

it('tells the model inside of a result when little of a limit is left, at 15 and at 5 percent', async () => {
  const left =
    (value: string, content: readonly Content[]): Reply =>
    (response) => {
      response.setHeader('oplab-budget-left', value);
      send(response, { content: [...content] });
    };
  const replies = [
    left('60 cost', [shell('a'), shell('b')]),
    left('14 cost', [shell('c')]),
    left('9 cost', [shell('d')]),
    left('4 tokens', [shell('e')]),
    left('garbage', [conclude()]),
  ];
  const { gateway } = await attempt({ replies });
  const told = JSON.stringify(modelRequest(gateway, gateway.bodies.length - 1).messages).match(/oplab: \d+ %[^.]*/g);
  expect(told).toEqual([
    "oplab: 14 % of this Incident's limit of cost is left",
    "oplab: 4 % of this Incident's limit of tokens is left",
  ]);
  const last = modelRequest(gateway, gateway.bodies.length - 1).messages.at(-1)?.content ?? [];
  expect(last.map(({ type }) => type)).toEqual(['tool_result']);
});

describe('a report', () => {
  it('fits into a termination message, whatever its text is', () => {
    for (const text of ['x', '"\\\n\u2028', 'ü', '🎉'].map((part) => part.repeat(5000))) {
      const line = formatAgentReport({ code: 'OPLAB_MODEL_REFUSED', message: text });
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(4096);
      expect(text).toContain(readAgentReport(line)?.message.replace(/\ufffd$/, ''));
    }
  });

  it.each(['', 'Error: boom', '{"message":', '[]', '{"code":"x"}', 'null'])('is not made of %s', (text) => {
    expect(readAgentReport(text)).toBeUndefined();
  });
});
