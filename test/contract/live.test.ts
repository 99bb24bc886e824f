// The real API, if there is a key: its models, counts, errors, and a session of four turns with the
// cache. Costs at most $0.50, and writes the structure of what it saw to seen/DATE.json.
//
// The same cases run against the strict double, a stand-in, so that they are known to work before they
// cost anything.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import { VERSION } from '@anthropic-ai/sdk/version';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_MODEL, DEFAULT_SUMMARY_MODEL } from '../../src/api/agent-class.ts';
import { judgeModelError } from '../../src/api/model-error.ts';
import { canonicalModel, MODEL_TABLE, modelFacts } from '../../src/api/model-table.ts';
import { Connections } from '../../src/gateway/doors/model/connections.ts';
import { AnthropicProvider } from '../../src/gateway/doors/model/providers/anthropic.ts';
import { keyFile } from '../../src/gateway/doors/model/providers/credential.ts';
import { ModelUpstream } from '../../src/gateway/doors/model/upstream.ts';
import { type DoubleServer, startDouble } from '../../src/messages-double/server.ts';
import { MODEL_KEY } from '../support/fake-model-api.ts';
import { runModelChain } from '../support/model-chain.ts';
import { playedModel } from './played-model.ts';
import { SEEN, shapeOf } from './shape.ts';

interface Way {
  readonly name: string;
  readonly isReal: boolean;
  readonly url: () => string;
  readonly key: string;
}

const REAL_KEY = process.env.ANTHROPIC_API_KEY ?? '';
let double: DoubleServer;
const ways: readonly Way[] = [
  { name: 'the double, a stand-in', isReal: false, url: () => double.url, key: MODEL_KEY },
  ...(REAL_KEY === ''
    ? []
    : [
        {
          name: 'the real API',
          isReal: true,
          url: () => process.env.ANTHROPIC_BASE_URL ?? 'https://api.anthropic.com',
          key: REAL_KEY,
        },
      ]),
];

beforeAll(async () => {
  double = await startDouble({
    answer: playedModel,
    isCredential: (credential) => credential === MODEL_KEY,
    isModel: (id) => Object.hasOwn(MODEL_TABLE, canonicalModel(id)),
  });
});
afterAll(() => double.close());

const MAX_USD = 0.5;
/** Of one session, in thousandths of a dollar: five of them, and what is asked besides, cost less than the maximum. */
const SESSION_LIMIT = 80;

/** Models that not every account has. */
const isLimited = (name: string) => name.includes('mythos');

describe.each(ways)('$name', ({ isReal, url, key }) => {
  let spentMicroUSD = 0;
  const client = () => new Anthropic({ baseURL: url(), apiKey: key, maxRetries: 2 });

  /** An attempt whose gateway asks this API. */
  async function attempt(options: { model?: string; key?: string; prices?: unknown } = {}) {
    const name = options.model ?? DEFAULT_MODEL;
    const summaryName = name === DEFAULT_SUMMARY_MODEL ? DEFAULT_MODEL : DEFAULT_SUMMARY_MODEL;
    const folder = await mkdtemp(path.join(tmpdir(), 'oplab-live-'));
    const file = path.join(folder, 'key');
    await writeFile(file, options.key ?? key);
    try {
      const result = await runModelChain({
        model: { name, summaryName, maxOutputTokens: 4000 },
        limits: { maxCostMilliUSD: SESSION_LIMIT, maxTurns: 8 },
        deadlineMs: 240_000,
        ...(options.prices === undefined ? {} : { prices: options.prices }),
        connect: () => {
          const provider = new AnthropicProvider(
            keyFile(file, () => undefined),
            'x-api-key',
          );
          return new ModelUpstream({ baseURL: new URL(url()), provider, connections: new Connections({}) });
        },
        incident: {
          summary: 'Nothing is wrong: this is a test of the connection to the model',
          description:
            'Run `date` and `uname -a` in one answer, then `uptime` alone, then `df -h` alone, then conclude nothing_wrong.',
        },
      });
      spentMicroUSD += result.charges.reduce((sum, { costMicroUSD }) => sum + costMicroUSD, 0);
      return result;
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  it.each(Object.keys(MODEL_TABLE).filter((name) => name !== 'rehearsal-1'))(
    'knows %s as the table does',
    async (name) => {
      const { endOfLife, contextWindow, maxOutputTokens } = modelFacts(name);
      if (endOfLife !== undefined && Date.parse(endOfLife) < Date.now()) return;
      if (isReal && isLimited(name)) return;
      const { data: models } = isReal ? await client().models.list({ limit: 1000 }) : { data: [{ id: name }] };
      const id = models.map((model) => model.id).find((candidate) => canonicalModel(candidate) === name);
      expect(id, `the API has no ${name} any more: give it an endOfLife`).toBeDefined();
      const told = await client().models.retrieve(id ?? name);
      if (told.max_input_tokens !== null) expect(told.max_input_tokens).toBe(contextWindow);
      if (told.max_tokens !== null) expect(told.max_tokens).toBe(maxOutputTokens);
    },
  );

  it.each([
    ['a log', '2026-11-27T19:00:00Z tikv-2 [ERROR] [server.rs:1052] ["failed to init store"] [err="No space left"]\n'],
    ['base64', 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA='],
    ['JSON', '{"kind":"Pod","metadata":{"uid":"7f3e1a9c-0d4b-4c9e-9f6a-1b2c3d4e5f60"}},'],
    ['Chinese', '存储节点磁盘已满'],
    ['symbols', '☃𝔘█░→'],
  ])('counts no more tokens than %s has bytes', async (_what, text) => {
    const content = text.repeat(50);
    const { input_tokens } = await client().messages.countTokens({
      model: DEFAULT_MODEL,
      messages: [{ role: 'user', content }],
    });
    expect(input_tokens).toBeGreaterThan(10);
    expect(input_tokens).toBeLessThanOrEqual(Buffer.byteLength(content) + 100);
  });

  it.each([DEFAULT_MODEL, DEFAULT_SUMMARY_MODEL])(
    '%s: a session of four turns, read from the cache',
    async (model) => {
      const { conclusions, commands, charges, entries, report } = await attempt({ model });
      expect(report).toBeUndefined();
      expect(conclusions).toMatchObject([{ outcome: 'NothingWrong' }]);
      expect(commands).toEqual(['date', 'uname -a', 'uptime', 'df -h']);
      expect(charges).toHaveLength(4);
      expect(charges.slice(1).every(({ cacheReadTokens }) => cacheReadTokens > 0)).toBe(true);
      const thoughts = entries.filter(
        ({ kind, params }) => kind === 'reasoning' && JSON.stringify(params).includes('thinking'),
      );
      expect(thoughts.length).toBeGreaterThan(0);
    },
    300_000,
  );

  it('a wrong key ends the attempt after one question', async () => {
    const { report, charges } = await attempt({ key: `${key.slice(0, -6)}wrong1` });
    expect(report).toMatchObject({ code: 'OPLAB_MODEL_KEY_REFUSED' });
    expect(charges).toHaveLength(1);
  });

  it('an unknown model ends the attempt after one question', async () => {
    const price = { input: 1, output: 1, cacheRead: 1, cacheWrite: 1, cacheWrite1h: 1 };
    const { report, charges } = await attempt({ model: 'claude-none-9', prices: { 'claude-none-9': price } });
    expect(report).toMatchObject({ code: 'OPLAB_MODEL_UNKNOWN' });
    expect(charges).toHaveLength(1);
  });

  it('takes no thinking back that was edited, and its structure is that of the recordings', async () => {
    const request = {
      model: DEFAULT_MODEL,
      max_tokens: 2000,
      thinking: { type: 'adaptive' as const, display: 'summarized' as const },
      tools: [
        {
          name: 'look',
          description: 'Looks.',
          input_schema: { type: 'object' as const, properties: { at: { type: 'string' } } },
        },
      ],
    };
    const ask: Anthropic.MessageParam = {
      role: 'user',
      content: 'What is 27 * 453 - 12? Think about it, then call look with the number.',
    };
    const events: Anthropic.MessageStreamEvent[] = [];
    const stream = client().messages.stream({ ...request, messages: [ask] });
    stream.on('streamEvent', (event) => events.push(structuredClone(event)));
    const answer = await stream.finalMessage();
    const call = answer.content.find((block) => block.type === 'tool_use');
    expect(answer.content.map(({ type }) => type)).toEqual(expect.arrayContaining(['thinking', 'tool_use']));
    const edited = answer.content.map((block) =>
      block.type === 'thinking' ? { ...block, thinking: `${block.thinking} And more.` } : block,
    );
    const result: Anthropic.MessageParam = {
      role: 'user',
      content: [{ type: 'tool_result', tool_use_id: call?.id ?? '', content: 'seen' }],
    };
    const messages = [ask, { role: 'assistant' as const, content: edited }, result];
    const error = await client()
      .messages.create({ ...request, messages })
      .then(() => undefined)
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Anthropic.BadRequestError);
    const body = error instanceof Anthropic.BadRequestError ? error.error : undefined;
    expect(judgeModelError({ status: 400, body }).code).toBe('OPLAB_THINKING_REFUSED');
    if (!isReal) return;
    await mkdir(SEEN, { recursive: true });
    const [date] = new Date().toISOString().split('T');
    const seen = { sdk: VERSION, events: events.map((event) => shapeOf(event)) };
    await writeFile(path.join(SEEN, `${date}.json`), `${JSON.stringify(seen, null, 2)}\n`);
  });

  it('has cost no more than it may', () => {
    expect(spentMicroUSD).toBeGreaterThan(0);
    expect(spentMicroUSD / 1_000_000).toBeLessThanOrEqual(MAX_USD);
  });
});
