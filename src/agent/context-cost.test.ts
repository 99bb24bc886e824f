// What trimming saves: whole sessions at the real prices, with a cache that holds what was sent before.

import { describe, expect, it } from 'vitest';
import { MODEL_TABLE, type Price } from '../api/model-table.ts';
import { type TrimLimits, type Turn, trimConversation, trimLimits } from './context.ts';

const NEVER: TrimLimits = { dear: Number.POSITIVE_INFINITY, full: Number.POSITIVE_INFINITY };
const OUT_TOKENS = 700;
/** As the loop estimates them. */
const tokensOf = (value: unknown) => Math.ceil(JSON.stringify(value).length / 3);
const text = (tokens: number) => 'x'.repeat(tokens * 3 - 60);

/** In dollars; every question but the first reads all from the cache that is as it was. */
function session(price: Price, turns: number, resultTokens: number, limits: TrimLimits) {
  const notes = new Map(Array.from({ length: turns }, (_, n) => [`t${n}`, { summary: 'y'.repeat(150), seq: n }]));
  let conversation: Turn[] = [{ role: 'user', content: [{ type: 'text', text: text(3000) }] }];
  let [cached, cost, trims]: [Turn[], number, number] = [[], 0, 0];
  for (let turn = 0; turn < turns; turn++) {
    const trimmed = trimConversation(conversation, tokensOf(conversation), limits, notes);
    conversation = trimmed?.messages ?? conversation;
    if (trimmed !== undefined) trims++;
    const kept = conversation.findIndex((message, at) => JSON.stringify(message) !== JSON.stringify(cached[at]));
    const read = tokensOf(conversation.slice(0, kept < 0 ? undefined : kept));
    const whole = tokensOf(conversation);
    const { longPrompt } = price;
    const rates = longPrompt !== undefined && whole > longPrompt.overTokens ? longPrompt : price;
    const { input, output, cacheRead = input / 10, cacheWrite = input * 1.25 } = rates;
    cost += (read * cacheRead + (whole - read) * cacheWrite + OUT_TOKENS * output) / 1e6;
    cached = conversation;
    conversation = [
      ...conversation,
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: text(OUT_TOKENS / 2), signature: 's' },
          { type: 'tool_use', id: `t${turn}`, name: 'shell', input: { command: text(OUT_TOKENS / 2) } },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: `t${turn}`, content: text(resultTokens) }] },
    ];
  }
  return { cost, trims };
}

const PRICED = Object.entries(MODEL_TABLE).flatMap(([model, { price }]) =>
  price === undefined || price.output === 0 ? [] : [{ model, price }],
);

describe.each(PRICED)('$model', ({ model, price }) => {
  // The window is another reason; every one here would hold the session.
  const limits = trimLimits(model, 10_000_000);

  it.each([
    { turns: 60, resultTokens: 5000, atMost: 0.96 },
    { turns: 60, resultTokens: 10_000, atMost: 0.98 },
    { turns: 120, resultTokens: 5000, atMost: 0.8 },
  ])('saves in $turns turns with results of $resultTokens tokens', ({ turns, resultTokens, atMost }) => {
    const { cost, trims } = session(price, turns, resultTokens, limits);
    expect(trims).toBeLessThanOrEqual(price.longPrompt === undefined ? turns / 10 : turns / 3);
    expect(cost).toBeLessThan(session(price, turns, resultTokens, NEVER).cost * atMost);
  });

  it('costs hardly more in a session that ends soon after', () => {
    for (const turns of [24, 27, 30, 34, 40, 50]) {
      const untrimmed = session(price, turns, 5000, NEVER).cost;
      expect(session(price, turns, 5000, limits).cost, `${turns} turns`).toBeLessThan(untrimmed * 1.1);
    }
  });
});
