// The cost of model calls.

import { describe, expect, it } from 'vitest';
import { costMicroUSD, pricesWith } from './prices.ts';

const tokens = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0, cacheWrite1hTokens: 0 };
const findPrice = (model: string, overrides?: unknown) => {
  const price = pricesWith(overrides).get(model);
  if (price === undefined) throw new Error(`no price for ${model}`);
  return price;
};

describe('costMicroUSD', () => {
  it('prices every kind of token at its own rate', () => {
    const used = {
      inputTokens: 1000,
      outputTokens: 100,
      cacheReadTokens: 10_000,
      cacheWriteTokens: 2000,
      cacheWrite1hTokens: 500,
    };
    // 1000×4 + 100×20 + 10000×0.2 + 1500×5 + 500×8
    expect(costMicroUSD(findPrice('claude-opus-5-5'), used)).toBe(19_500);
  });

  it('rounds a fraction of a millionth up and adds nothing to a whole sum', () => {
    const haiku = findPrice('claude-haiku-5-5');
    expect(costMicroUSD(haiku, { ...tokens, inputTokens: 1 })).toBe(1);
    expect(costMicroUSD(haiku, { ...tokens, inputTokens: 30 })).toBe(3);
  });

  it('charges the whole of a long prompt at the rates for long prompts', () => {
    const haiku = findPrice('claude-haiku-5-5');
    expect(costMicroUSD(haiku, { ...tokens, inputTokens: 100_000, outputTokens: 1000 })).toBe(10_500);
    expect(costMicroUSD(haiku, { ...tokens, inputTokens: 90_000, cacheReadTokens: 10_001, outputTokens: 1000 })).toBe(
      48_001,
    );
  });

  it('is a tenth higher in the US', () => {
    const opus = findPrice('claude-opus-5-5');
    expect(costMicroUSD(opus, { ...tokens, outputTokens: 1000, inUS: true })).toBe(22_000);
  });
});

describe('pricesWith', () => {
  it('adds models, replaces rates, and fills in default cache rates', () => {
    const overrides = { mine: { input: 3, output: 15 }, 'claude-opus-5-5': { input: 1, output: 1 } };
    expect(costMicroUSD(findPrice('mine', overrides), { ...tokens, cacheReadTokens: 100, cacheWriteTokens: 100 })).toBe(
      405,
    );
    expect(findPrice('claude-opus-5-5', overrides).input).toBe(1);
    expect(pricesWith({}).get('mine')).toBeUndefined();
  });

  it('multiplies built-in prices with the factor of a region, and leaves those that are given', () => {
    const prices = pricesWith({ mine: { input: 1, output: 2 } }, 'prices', 1.5);
    expect(prices.get('mine')).toEqual({ input: 1, output: 2 });
    expect(prices.get('eu.anthropic.claude-opus-5-5')).toEqual({
      ...{ input: 6, output: 30, cacheRead: 0.2 * 1.5, cacheWrite: 7.5, cacheWrite1h: 12 },
    });
    expect(prices.get('claude-haiku-5-5')?.longPrompt).toMatchObject({
      overTokens: 100_000,
      input: 0.75,
      output: 3.75,
    });
    expect(prices.get('unheard-of')).toBeUndefined();
  });

  it('says what is wrong with a table', () => {
    expect(() => pricesWith({ mine: { input: -1 } }, 'prices.yaml')).toThrow(/prices.yaml.*input.*output/s);
  });

  it('charges nothing for the rehearsal model', () => {
    expect(costMicroUSD(findPrice('rehearsal-1'), { ...tokens, inputTokens: 1_000_000, outputTokens: 1_000_000 })).toBe(
      0,
    );
  });
});
