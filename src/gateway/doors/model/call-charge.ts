// What a call is charged for, before it is sent and when it has ended in whatever way. Pure.

import type { Price } from '../../../api/model-table.ts';
import type { Ask } from '../../budget.ts';
import { costMicroUSD, type Tokens } from '../../prices.ts';
import type { PromptEstimate } from './prompt-estimate.ts';
import type { Admitted } from './request-policy.ts';
import { BYTES_PER_TOKEN, type Seen } from './usage-meter.ts';

type CacheLife = Admitted['cacheLife'];

/** With fewer, an answer can hold no claim. */
export const LEAST_OUTPUT_TOKENS = 1024;
/**
 * What a model may have made that has not passed when a stream is cut: the API holds back each
 * parameter of a call until it is whole.
 */
const UNSEEN_OUTPUT_TOKENS = 2000;

/** The tokens of a prompt as they will be billed, and of an answer of this length. */
export function expectedTokens(estimate: PromptEstimate, cacheLife: CacheLife, outputTokens: number): Tokens {
  const { known, added, isCached } = estimate;
  const billed = isCached ? added : known + added;
  const written = cacheLife === 'none' ? 0 : billed;
  return {
    inputTokens: billed - written,
    outputTokens,
    cacheReadTokens: isCached ? known : 0,
    cacheWriteTokens: written,
    cacheWrite1hTokens: cacheLife === '1h' ? written : 0,
    ...(estimate.inUS ? { inUS: true } : {}),
  };
}

/** What a request asks the budget for. */
export function askFor(price: Price, { request, turn, cacheLife }: Admitted, estimate: PromptEstimate): Ask {
  const prompt = expectedTokens(estimate, cacheLife, 0);
  const one = expectedTokens(estimate, cacheLife, 1_000_000);
  const promptMicroUSD = costMicroUSD(price, prompt);
  return {
    turn,
    promptTokens: prompt.inputTokens + prompt.cacheWriteTokens,
    promptMicroUSD,
    outputTokens: request.max_tokens,
    leastOutputTokens: Math.min(request.max_tokens, LEAST_OUTPUT_TOKENS),
    outputMicroUSD: (costMicroUSD(price, one) - promptMicroUSD) / 1_000_000,
  };
}

/** How a call ended. */
export interface CallEnd {
  readonly seen: Seen;
  readonly streamed: boolean;
  /** Nothing was made: the call was not sent, or answered with an error. */
  readonly free: boolean;
}

/**
 * The tokens to charge; undefined if there are none. What the answer counts; if it was cut, what was
 * seen of it and what may have been made besides. A whole one that counts nothing, by its bytes. A
 * prompt that was not counted costs what was expected of it.
 */
export function chargedTokens({ seen, streamed, free }: CallEnd, expected: Tokens): Tokens | undefined {
  if (free) return undefined;
  const { tokens, complete, outputBytes, failed } = seen;
  if (complete && tokens !== undefined) {
    const prompt = tokens.inputTokens + tokens.cacheReadTokens + tokens.cacheWriteTokens;
    return prompt > 0 ? tokens : { ...expected, outputTokens: tokens.outputTokens };
  }
  // An error instead of an answer is not billed, also inside of a stream.
  if (failed && outputBytes === 0) return undefined;
  // The whole answer was made before its first byte.
  if (!streamed && !complete) return { ...(tokens ?? expected), outputTokens: expected.outputTokens };
  const passed = Math.max(tokens?.outputTokens ?? 0, Math.ceil(outputBytes / BYTES_PER_TOKEN));
  const outputTokens = Math.min(expected.outputTokens, passed + (failed || complete ? 0 : UNSEEN_OUTPUT_TOKENS));
  return { ...(tokens ?? expected), outputTokens };
}
