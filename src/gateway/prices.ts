// The cost of a model call. USD per million tokens equals millionths of a dollar per token.

import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import * as z from 'zod';
import { canonicalModel, modelFacts, type Price, type Rates } from '../api/model-table.ts';
import { InvalidInput } from '../errors.ts';
import { parseInput } from '../input/parse-input.ts';

const rate = z.number().min(0);
const rates = z.object({
  input: rate,
  output: rate,
  /** Default: a tenth of `input`. */
  cacheRead: rate.optional(),
  /** Writes with a lifetime of five minutes. Default: 1.25 times `input`. */
  cacheWrite: rate.optional(),
  /** Writes with a lifetime of an hour. Default: twice `input`. */
  cacheWrite1h: rate.optional(),
});

/** The rates of one model in USD per million tokens. */
export const price = rates.extend({
  /**
   * Rates for a request whose prompt, including cache reads and writes, is longer than
   * `overTokens`.
   */
  longPrompt: rates.extend({ overTokens: z.number().int().min(1) }).optional(),
});

/** What models cost. */
export interface Prices {
  /** Undefined if nobody has given a price. @param model its name, as any vendor spells it */
  get(model: string): Price | undefined;
}

/** The tokens of one answer, as counted in its `usage`. */
export interface Tokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  /** Cache writes of either lifetime. */
  readonly cacheWriteTokens: number;
  /** The part of the cache writes with a lifetime of an hour. */
  readonly cacheWrite1hTokens: number;
  /** `usage.inference_geo` is `us`, of which all rates are higher. */
  readonly inUS?: boolean;
}

/** What the vendor multiplies all rates with if a model must run in the US. */
const US_FACTOR = 1.1;

/**
 * The built-in table, all of it multiplied with a factor, with `overrides` (model → price) applied, which
 * are as they are given. @throws InvalidInput
 */
export function pricesWith(overrides: unknown, origin = 'prices', factor = 1): Prices {
  const parsed = parseInput(
    z.record(z.string(), price).nullish(),
    overrides,
    `${origin} must map models to {input, output, cacheRead, cacheWrite} in USD per million tokens`,
    { values: 'shown' },
  );
  const given = new Map(Object.entries(parsed ?? {}));
  return {
    get: (model) => given.get(model) ?? given.get(canonicalModel(model)) ?? multiplied(modelFacts(model).price, factor),
  };
}

function multiplied(built: Price | undefined, factor: number): Price | undefined {
  if (built === undefined || factor === 1) return built;
  const { longPrompt } = built;
  const dearer = (one: Rates): Rates => ({
    input: one.input * factor,
    output: one.output * factor,
    ...Object.fromEntries(
      (['cacheRead', 'cacheWrite', 'cacheWrite1h'] as const).flatMap((rate) => {
        const given = one[rate];
        return given === undefined ? [] : [[rate, given * factor]];
      }),
    ),
  });
  if (longPrompt === undefined) return dearer(built);
  return { ...dearer(built), longPrompt: { ...dearer(longPrompt), overTokens: longPrompt.overTokens } };
}

/**
 * Reads overrides from a YAML or JSON file. Without a file, returns the built-in table. @throws
 * InvalidInput
 */
export async function loadPrices(file: string | undefined, factor = 1): Promise<Prices> {
  if (file === undefined) return pricesWith(undefined, undefined, factor);
  let content: unknown;
  try {
    content = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new InvalidInput(`the price file ${file} cannot be read; it must exist and be YAML or JSON`, error);
  }
  return pricesWith(content, file, factor);
}

/** The rates that apply to a prompt of this length, with all defaults. */
export function ratesFor(model: Price, promptTokens: number): Required<{ [K in keyof Rates]: number }> {
  const { longPrompt } = model;
  const applied = longPrompt !== undefined && promptTokens > longPrompt.overTokens ? longPrompt : model;
  const { input, output, cacheRead = input / 10, cacheWrite = input * 1.25, cacheWrite1h = input * 2 } = applied;
  return { input, output, cacheRead, cacheWrite, cacheWrite1h };
}

/** The cost of an answer in whole millionths of a US dollar, rounded up. */
export function costMicroUSD(model: Price, tokens: Tokens): number {
  const prompt = tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens;
  const { input, output, cacheRead, cacheWrite, cacheWrite1h } = ratesFor(model, prompt);
  const cost =
    tokens.inputTokens * input +
    tokens.outputTokens * output +
    tokens.cacheReadTokens * cacheRead +
    (tokens.cacheWriteTokens - tokens.cacheWrite1hTokens) * cacheWrite +
    tokens.cacheWrite1hTokens * cacheWrite1h;
  const factor = tokens.inUS === true ? US_FACTOR : 1;
  // Binary rounding errors of a price such as 0.1 must not add a millionth to a whole sum.
  return Math.ceil(Number((cost * factor).toFixed(6)));
}
