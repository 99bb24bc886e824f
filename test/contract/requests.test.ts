// The agent against the strict double: the API accepts each request of a session, on each kind of
// model, after each fault that an attempt survives.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { runAttempt } from '../../src/agent/process.ts';
import type { Task } from '../../src/gateway/protocol.ts';
import type { Reply } from '../../src/messages-double/double.ts';
import type { FaultName } from '../../src/messages-double/faults.ts';
import { startDouble } from '../../src/messages-double/server.ts';
import { anExit, closed } from '../support/attempt-harness.ts';
import { fakeTask, startFakeGateway } from '../support/fake-gateway.ts';
import { silentLogger } from '../support/silent-logger.ts';

const shell = (command: string) => ({
  type: 'tool_use' as const,
  name: 'shell',
  input: { command, purpose: `because ${command}` },
});
const conclusion = {
  type: 'tool_use' as const,
  name: 'conclude',
  input: { outcome: 'fixed', summary: 'done', root_cause: 'a cause', actions: [] },
};
const text = (words: string) => ({ type: 'text' as const, text: words });

/** The answers of a session with everything that an answer may have. */
const SESSION: readonly Reply[] = [
  { thinking: 'Where is it?', content: [text('I look.'), shell('a'), shell('b'), shell('c')] },
  { thinking: 'Aha.', content: [shell('d')] },
  { content: [text('I think about it.')] },
  { thinking: 'Now.', content: [text('  '), shell('e')] },
  { thinking: 'Many.', content: Array.from({ length: 12 }, (_, index) => shell(`f${index}`)) },
  { thinking: 'Done.', content: [conclusion] },
];

interface Options {
  readonly output?: (command: string) => string;
  readonly model: Partial<Task['model']>;
  readonly replies?: readonly Reply[];
  /** The faults of the first requests. */
  readonly faults?: readonly (FaultName | undefined)[];
}

/** One result is long enough for a summary. */
const printed = (command: string) => `output of ${command}\n`.repeat(command === 'd' ? 300 : 1);

async function converse({ model, replies = SESSION, faults = [], output = printed }: Options) {
  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-double-'));
  const tokenFile = path.join(directory, 'token');
  await writeFile(tokenFile, 'a-token\n');
  const refused: string[] = [];
  const left = [...replies];
  const double = await startDouble({
    answer: ({ tools }) => (tools === undefined ? { content: [text('one line')] } : (left.shift() ?? { content: [] })),
    fault: ({ tools }) => (tools === undefined ? undefined : planned.shift()),
    onRefused: ({ message }) => void refused.push(message),
  });
  const planned = [...faults];
  const gateway = await startFakeGateway({
    task: fakeTask({
      model: { name: 'claude-opus-5-5', summaryName: 'claude-haiku-5-5', maxOutputTokens: 16_000, ...model },
    }),
    messages: double.url,
  });
  try {
    await runAttempt({
      gatewayUrl: gateway.url,
      tokenFile,
      sandbox: {
        ready: async () => undefined,
        end: async () => 'unknown',
        isolation: async () => closed,
        exec: async ({ command }) => anExit(output(command)),
      },
      logger: silentLogger(),
      signal: AbortSignal.timeout(30_000),
      leaveReport: async () => undefined,
    });
    const asked = gateway.bodies.map((body) => question.parse(body)).filter(({ tools }) => tools !== undefined);
    return { asked, refused, conclusions: gateway.conclusions, bodies: gateway.bodies };
  } finally {
    await gateway.close();
    await double.close();
    await rm(directory, { recursive: true, force: true });
  }
}

const question = z.looseObject({ tools: z.unknown().optional(), messages: z.array(z.unknown()) });
/** A request without the marks for the cache, its messages last. */
const plain = (body: z.infer<typeof question>) => {
  const { messages, ...rest } = body;
  const bare = (value: unknown) => JSON.stringify(value, (key, it) => (key === 'cache_control' ? undefined : it));
  return { rest: bare(rest), messages: bare(messages).slice(0, -1) };
};

/** Models with and without adaptive thinking, a default of it, and effort. */
const MODELS: readonly Partial<Task['model']>[] = [
  { name: 'claude-opus-5-5' },
  { name: 'claude-opus-5-5', effort: 'max' },
  { name: 'claude-fable-5-2', maxOutputTokens: 128_000 },
  { name: 'claude-sonnet-5-5', thinking: 'off' },
  { name: 'claude-opus-4-6', effort: 'high' },
  { name: 'claude-haiku-4-5', maxOutputTokens: 128_000 },
  { name: 'claude-haiku-4-5', summaryName: 'claude-haiku-4-5' },
  { name: 'claude-opus-4-8', summaryName: 'claude-sonnet-4-6' },
  { name: 'some-deployment', summaryName: 'another' },
];

describe('the requests of a whole session', () => {
  it.each(MODELS)('are accepted by %o', async (model) => {
    const { asked, refused, conclusions, bodies } = await converse({ model });
    expect(refused).toEqual([]);
    expect(conclusions).toHaveLength(1);
    expect(asked).toHaveLength(SESSION.length);
    // The summary of a long result was asked for as well.
    expect(bodies.length).toBeGreaterThan(asked.length);
    for (const [index, body] of asked.entries()) {
      const next = asked[index + 1];
      if (next === undefined) continue;
      expect(plain(next).rest).toBe(plain(body).rest);
      expect(plain(next).messages.startsWith(`${plain(body).messages},`)).toBe(true);
    }
  });
});

describe('the requests of a session', () => {
  it('are accepted whatever halves of characters a command, its output or a text has', async () => {
    const half = '\ud83d';
    const replies: Reply[] = [
      { thinking: 'A test.', content: [text(`a ${half} text`), shell(`printf '${half} \\ud83d 😀'`)] },
      ...SESSION,
    ];
    const output = (command: string) => (command.startsWith('printf') ? `${half}\\ud83d 😀`.repeat(500) : 'ok');
    const { refused, conclusions, asked } = await converse({ model: {}, replies, output });
    expect(refused).toEqual([]);
    expect(conclusions).toHaveLength(1);
    // Whole characters, and the text of an escape, are as they were.
    expect(JSON.stringify(asked[1])).toContain('\ufffd\\\\ud83d 😀');
  });

  it('are accepted after results were shortened for a small window', async () => {
    const replies: Reply[] = [
      ...Array.from({ length: 14 }, (_, index) => ({ thinking: `${index}`, content: [shell(`s${index}`)] })),
      { content: [conclusion] },
    ];
    const output = (command: string) => `output of ${command}\n`.repeat(400);
    const full = [...Array<undefined>(8), 'context-full' as const];
    for (const options of [
      { model: { name: 'claude-opus-5-5', contextWindow: 20_000 } },
      { model: { name: 'claude-haiku-4-5', contextWindow: 20_000 } },
      { model: {}, faults: full },
    ] as const) {
      const { refused, conclusions, asked } = await converse({ replies, output, ...options });
      expect(refused).toEqual([]);
      expect(conclusions).toHaveLength(1);
      expect(JSON.stringify(asked)).toContain('[shortened;');
    }
  });
});

/** What an attempt survives. The others end it, or last too long for this test. */
const SURVIVED: readonly FaultName[] = [
  ...(['cut-before-head', 'cut-after-start', 'cut-in-block', 'overloaded-in-stream', 'api-error-in-stream'] as const),
  ...(['garbled-stream', 'duplicate-start', 'unknown-event', 'unknown-block', 'pause-turn', 'thinking-only'] as const),
  ...(['max-tokens-in-call', 'window-exceeded', 'rate-limit', 'internal-error', 'gateway-timeout'] as const),
  ...(['overloaded', 'thinking-bound'] as const),
];

describe('the requests after a fault', () => {
  it.each(SURVIVED)('are accepted: %s', async (fault) => {
    const replies = [SESSION[0], ...SESSION].flatMap((reply) => reply ?? []);
    const faults = [undefined, fault, undefined, fault];
    const { refused, conclusions } = await converse({ model: {}, replies, faults });
    expect(refused).toEqual([]);
    expect(conclusions).toHaveLength(1);
  });

  it.each(['claude-opus-4-8', 'claude-haiku-4-5', 'claude-sonnet-5-5'])(
    'are accepted by the fallback %s',
    async (fallbackName) => {
      for (const fault of ['refusal', 'refusal-in-output'] as const) {
        const model: Partial<Task['model']> = { fallbackName, effort: 'xhigh', maxOutputTokens: 128_000 };
        const { refused, conclusions, asked } = await converse({ model, faults: [undefined, fault] });
        expect(refused).toEqual([]);
        expect(conclusions).toHaveLength(1);
        expect(asked.at(-1)).toMatchObject({ model: fallbackName });
      }
    },
  );
});
