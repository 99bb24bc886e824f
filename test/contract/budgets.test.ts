// Whole sessions against the real budget and the real prices: they end under the default limits, and
// no call is refused while there is money for another turn.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_CEILINGS, type Limits } from '../../src/api/limits.ts';
import { MODEL_TABLE } from '../../src/api/model-table.ts';
import { LimitReached } from '../../src/errors.ts';
import { Budget, buildSpending } from '../../src/gateway/budget.ts';
import { askFor, chargedTokens, expectedTokens } from '../../src/gateway/doors/model/call-charge.ts';
import { estimatePrompt, promptParts } from '../../src/gateway/doors/model/prompt-estimate.ts';
import { admitRequest, shortened } from '../../src/gateway/doors/model/request-policy.ts';
import { costMicroUSD, pricesWith, type Tokens } from '../../src/gateway/prices.ts';

const prices = pricesWith(undefined);
/** Every price of the table, with one model that has it. */
const PRICED = [
  ...new Map(
    Object.entries(MODEL_TABLE).flatMap(([model, { price, maxOutputTokens }]) =>
      price === undefined || price.output === 0
        ? []
        : [[JSON.stringify([price, maxOutputTokens]), { model, maxOutputTokens, input: price.input }]],
    ),
  ).values(),
];

interface Shape {
  readonly model: string;
  readonly maxOutputTokens: number;
  readonly turns: number;
  readonly resultTokens: number;
  readonly outTokens?: number;
  /** Bytes of a token, for each turn. */
  readonly bytesPerToken?: (turn: number) => number;
  readonly limits?: Limits;
  /** From this turn on, each stream is cut after the head of its message. */
  readonly stallsFrom?: number;
}

/** What an ideal API would have charged for a turn. */
const turnCost = (model: string, prompt: number, added: number, outTokens: number) => {
  const price = prices.get(model);
  if (price === undefined) throw new Error(`no price for ${model}`);
  const tokens: Tokens = {
    inputTokens: 0,
    outputTokens: outTokens,
    cacheReadTokens: prompt - added,
    cacheWriteTokens: added,
    cacheWrite1hTokens: 0,
  };
  return { tokens, cost: costMicroUSD(price, tokens) };
};

/** Runs a session, whose prompts are all read from the cache but for what is new. */
async function session(shape: Shape) {
  const { model, maxOutputTokens, turns, resultTokens, outTokens = 700, limits = DEFAULT_CEILINGS } = shape;
  const { bytesPerToken = () => 2.9 } = shape;
  const price = prices.get(model);
  if (price === undefined) throw new Error(`no price for ${model}`);
  const budget = new Budget();
  const allowed = { name: 'c', generation: 1, mode: 'Repair' as const, model, summaryModel: 's', maxOutputTokens };
  // No two messages of a conversation are the same.
  const text = (tokens: number, turn: number) => `${turn} `.padEnd(Math.round(tokens * bytesPerToken(turn)), 'x');
  const mark = { cache_control: { type: 'ephemeral' } };
  const messages: object[] = [{ role: 'user', content: [{ type: 'text', text: text(3000, 0), ...mark }] }];
  let [prompt, added, now, spent, normal] = [3000, 3000, 0, 0, 0];
  const costs: number[] = [];
  for (let turn = 1; turn <= turns; turn += 1) {
    const body = Buffer.from(JSON.stringify({ model, max_tokens: maxOutputTokens, stream: true, messages }));
    let admitted = admitRequest(body, allowed);
    const parts = promptParts(admitted.request);
    const estimate = estimatePrompt({
      ...{ bytes: admitted.body.length, parts, cacheLife: admitted.cacheLife, now },
      ...{ seen: budget.seenPrompts.get(model), isAlone: budget.isIdle },
    });
    const { tokens, cost } = turnCost(model, prompt, added, outTokens);
    normal = cost;
    let reservation: Awaited<ReturnType<Budget['reserve']>>;
    try {
      reservation = await budget.reserve(askFor(price, admitted, estimate), limits);
    } catch (error) {
      if (!(error instanceof LimitReached)) throw error;
      return { refusedAt: turn, limit: error.limit, spent, normal, costs };
    }
    if (reservation.outputTokens < maxOutputTokens) admitted = shortened(admitted, reservation.outputTokens);
    const isCut = turn >= (shape.stallsFrom ?? Number.POSITIVE_INFINITY);
    const seen = {
      tokens: { ...tokens, outputTokens: isCut ? 1 : outTokens },
      ...{ complete: !isCut, stopReason: undefined, outputBytes: 0, failed: false },
    };
    const expected = expectedTokens(estimate, admitted.cacheLife, reservation.outputTokens);
    const charged = chargedTokens({ seen, streamed: true, free: false }, expected);
    if (charged === undefined) throw new Error('nothing is charged');
    reservation.settle(buildSpending('c', model, !isCut, charged, costMicroUSD(price, charged)));
    costs.push(costMicroUSD(price, charged));
    spent += costMicroUSD(price, charged);
    now += 30_000;
    if (isCut) continue;
    budget.seenPrompts.set(model, {
      ...{ parts, tokens: prompt, bytes: admitted.body.length, sentAt: now - 30_000, inUS: false },
      cacheLife: admitted.cacheLife,
    });
    added = outTokens + resultTokens;
    prompt += added;
    messages.push(
      { role: 'assistant', content: [{ type: 'text', text: text(outTokens, turn) }] },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: 't', content: text(resultTokens, turn), ...mark }],
      },
    );
  }
  return { refusedAt: undefined, limit: undefined, spent, normal, costs };
}

describe.each(PRICED)('$model', ({ model, maxOutputTokens, input }) => {
  const outputs = [16_000, maxOutputTokens];

  it('ends 25 turns with results of 5,000 tokens under the default limits', async () => {
    for (const most of outputs) {
      const { refusedAt, spent } = await session({ model, maxOutputTokens: most, turns: 25, resultTokens: 5000 });
      expect([most, refusedAt]).toEqual([most, undefined]);
      expect(spent).toBeLessThanOrEqual(DEFAULT_CEILINGS.maxCostMilliUSD * 1000);
    }
  });

  it.each([
    { what: 'plain text', bytesPerToken: () => 4.2 },
    { what: 'JSON', bytesPerToken: () => 2.9 },
    { what: 'hashes', bytesPerToken: () => 1.6 },
    { what: 'text whose density changes', bytesPerToken: (turn: number) => 2.5 + 0.6 * Math.sin(turn) },
  ])('is refused only when less than one turn of $what is left', async ({ bytesPerToken }) => {
    const limits = { ...DEFAULT_CEILINGS, maxTurns: 1000, maxTokens: 1_000_000_000, maxCostMilliUSD: 70 * input };
    for (const resultTokens of [500, 5000]) {
      const shape = {
        model,
        maxOutputTokens: 16_000,
        turns: 1000,
        resultTokens,
        outTokens: 1024,
        limits,
        bytesPerToken,
      };
      const { limit, spent, normal } = await session(shape);
      expect(limit).toBe('cost');
      // Text that becomes denser by a third between two calls needs that much more.
      expect(limits.maxCostMilliUSD * 1000 - spent).toBeLessThan(normal * 1.3);
    }
  });

  it('charges no more than two turns for a stream that stalls', async () => {
    const shape = { model, maxOutputTokens: 16_000, turns: 22, resultTokens: 2000, stallsFrom: 20 };
    const { costs } = await session(shape);
    const [normal = 0, ...stalls] = costs.slice(18);
    expect(stalls).toHaveLength(3);
    for (const stall of stalls) expect(stall).toBeLessThanOrEqual(normal * 2);
  });

  it('lets the first call fit, whatever output the class allows', async () => {
    const limits = { ...DEFAULT_CEILINGS, maxCostMilliUSD: 250 };
    for (const most of outputs) {
      expect(await session({ model, maxOutputTokens: most, turns: 1, resultTokens: 0, limits })).toMatchObject({
        refusedAt: undefined,
      });
    }
  });
});

describe('the costs in docs/models.md', async () => {
  const page = await readFile(path.join(import.meta.dirname, '../../docs/models.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `(claude-[^`]+)` \|((?: \$\d+\.\d\d \|){3})$/gm)].map(
    ([, model = '', cells = '']) => ({
      model,
      cells: [...cells.matchAll(/\d+\.\d\d/g)].map(([cell]) => cell),
    }),
  );
  const dollars = (microUSD: number) => (microUSD / 1_000_000).toFixed(2);

  /** Of a session whose prompts are not cached. */
  function uncached(model: string, turns: number, resultTokens: number, outTokens: number): number {
    const price = prices.get(model);
    if (price === undefined) throw new Error(`no price for ${model}`);
    const none = { cacheReadTokens: 0, cacheWriteTokens: 0, cacheWrite1hTokens: 0 };
    return Array.from({ length: turns }, (_, turn) => 3000 + turn * (outTokens + resultTokens))
      .map((inputTokens) => costMicroUSD(price, { inputTokens, outputTokens: outTokens, ...none }))
      .reduce((sum, cost) => sum + cost, 0);
  }

  it('has a row for each model that is sold and has no end of life', () => {
    const sold = Object.entries(MODEL_TABLE).filter(
      ([name, { price, endOfLife }]) =>
        price !== undefined && price.output > 0 && endOfLife === undefined && !name.includes('mythos'),
    );
    expect(rows.map(({ model }) => model).sort()).toEqual(sold.map(([name]) => name).sort());
  });

  it.each(rows)('$model', async ({ model, cells }) => {
    const shape = { model, maxOutputTokens: 16_000, turns: 25, outTokens: 700 };
    const short = await session({ ...shape, resultTokens: 2000 });
    const long = await session({ ...shape, resultTokens: 5000 });
    expect(cells).toEqual([dollars(short.spent), dollars(long.spent), dollars(uncached(model, 25, 2000, 700))]);
  });
});
