// What a call costs that ended in another way than with an answer.

import { describe, expect, it } from 'vitest';
import { chargedTokens, expectedTokens } from './call-charge.ts';

const counted = { inputTokens: 5, outputTokens: 1, cacheReadTokens: 900, cacheWriteTokens: 50, cacheWrite1hTokens: 0 };
const nothing = { tokens: undefined, complete: false, stopReason: undefined, outputBytes: 0, failed: false };
const expected = expectedTokens({ known: 1000, added: 60, isCached: true, inUS: false }, '5m', 16_000);
const charge = (seen: object, more: object = {}) =>
  chargedTokens({ seen: { ...nothing, ...seen }, streamed: true, free: false, ...more }, expected);

describe('a call is charged', () => {
  it.each<[string, object, object, object | undefined]>([
    ['what its answer counts', { tokens: counted, complete: true }, {}, counted],
    ['nothing, if it was not answered', {}, { free: true }, undefined],
    ['nothing, if the stream begins with an error', { failed: true }, {}, undefined],
    ['nothing, if the stream fails behind the head of its message', { failed: true, tokens: counted }, {}, undefined],
    [
      'what has passed, if the stream fails then',
      { failed: true, tokens: counted, outputBytes: 200 },
      {},
      { ...counted, outputTokens: 100 },
    ],
    [
      'its prompt and what may be on its way, if it is cut',
      { tokens: counted },
      {},
      { ...counted, outputTokens: 2001 },
    ],
    [
      'what has passed besides, if it is cut later',
      { tokens: counted, outputBytes: 2000 },
      {},
      { ...counted, outputTokens: 3000 },
    ],
    [
      'no more output than it may have',
      { tokens: counted, outputBytes: 1e6 },
      {},
      { ...counted, outputTokens: 16_000 },
    ],
    ['the prompt as expected, before the head of the message', {}, {}, { ...expected, outputTokens: 2000 }],
    ['all of its output, if the answer is not a stream', {}, { streamed: false }, expected],
  ])('%s', (_what, seen, more, tokens) => {
    expect(charge(seen, more)).toEqual(tokens);
  });
});

it.each([
  [true, '5m', { inputTokens: 0, cacheReadTokens: 1000, cacheWriteTokens: 60, cacheWrite1hTokens: 0 }],
  [false, '1h', { inputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 1060, cacheWrite1hTokens: 1060 }],
  [false, 'none', { inputTokens: 1060, cacheReadTokens: 0, cacheWriteTokens: 0, cacheWrite1hTokens: 0 }],
] as const)('a prompt is priced as it will be billed: cached %s, kept %s', (isCached, cacheLife, tokens) => {
  expect(expectedTokens({ known: 1000, added: 60, isCached, inUS: false }, cacheLife, 7)).toEqual({
    ...tokens,
    outputTokens: 7,
  });
});
