// What is reserved for a prompt, whatever the prompts before it were.

import { describe, expect, it } from 'vitest';
import { estimatePrompt, type PromptEstimate, promptParts } from './prompt-estimate.ts';

type Request = Parameters<typeof promptParts>[0];

const request = (messages: readonly unknown[], rest: object = {}): Request => ({
  model: 'm',
  max_tokens: 1,
  messages: [...messages],
  ...rest,
});
const bytes = (one: Request) => Buffer.byteLength(JSON.stringify(one));
const user = (content: unknown) => ({ role: 'user', content });
type Before = { of: Request; tokens: number; secondsAgo?: number; cacheLife?: 'none' | '5m' | '1h' };
const estimate = (one: Request, before?: Before, isAlone = false): PromptEstimate =>
  estimatePrompt({
    bytes: bytes(one),
    parts: promptParts(one),
    cacheLife: '5m',
    isAlone,
    now: 1_000_000_000,
    seen:
      before === undefined
        ? undefined
        : {
            parts: promptParts(before.of),
            tokens: before.tokens,
            bytes: bytes(before.of),
            sentAt: 1_000_000_000 - (before.secondsAgo ?? 10) * 1000,
            cacheLife: before.cacheLife ?? '5m',
            inUS: false,
          },
  });
const bound = (one: Request, before?: Before, isAlone = false) => {
  const { known, added } = estimate(one, before, isAlone);
  return known + added;
};

describe('the bound of a prompt', () => {
  const blanks = user(' '.repeat(1_000_000));
  const dense = 'x'.repeat(1_000_000);

  it('is its bytes at first', () => {
    const first = request([user('hello')], { system: 'be brief' });
    expect(bound(first)).toBe(bytes(first));
  });

  it('is what the model counted, and the bytes of what is new', () => {
    const first = request([user('y'.repeat(10_000))], { system: 'be brief' });
    const next = request([...first.messages, user('z'.repeat(1000))], { system: 'be brief' });
    const tokens = bound(next, { of: first, tokens: 3000 });
    expect(tokens).toBeGreaterThan(1000 + 3000);
    expect(tokens).toBeLessThan(1000 + 3000 + 200);
  });

  it('knows a message again whose cache mark has moved on', () => {
    const text = 'y'.repeat(10_000);
    const mark = { cache_control: { type: 'ephemeral' } };
    const first = request([user([{ type: 'text', text, ...mark }])]);
    expect(bound(request([user([{ type: 'text', text }]), user('z')]), { of: first, tokens: 2000 })).toBeLessThan(2500);
    expect(bound(request([user(text), user('z')]), { of: first, tokens: 2000 })).toBeLessThan(2500);
  });

  it.each<[string, Request, Request]>([
    ['other text of the same length', request([blanks]), request([user(dense)])],
    ['behind text of low density', request([blanks]), request([blanks, user(dense)])],
    [
      'in a tool call, under the name of a cache mark',
      request([user([{ type: 'tool_use', input: { cache_control: 'x' } }])]),
      request([user([{ type: 'tool_use', input: { cache_control: dense } }])]),
    ],
    [
      'beside many short messages that are known',
      request(Array.from({ length: 4000 }, (_, index) => user(`${index}`))),
      request([...Array.from({ length: 4000 }, (_, index) => user(`${index}`)), user(dense)]),
    ],
    ['the same message twenty times', request([user(dense)]), request(Array(20).fill(user(dense)))],
  ])('counts each byte of what is new: %s', (_what, first, next) => {
    const repeated = next.messages.length === 20 ? 19_000_000 : 1_000_000;
    expect(bound(next, { of: first, tokens: 10 })).toBeGreaterThanOrEqual(repeated);
  });
});

describe('what is new', () => {
  const first = request([user('y'.repeat(30_000))]);
  const next = request([...first.messages, user('z'.repeat(15_000))]);

  it('is as dense as the session was, for one call at a time', () => {
    const before = { of: first, tokens: 10_000 };
    expect(estimate(next, before, true).added).toBeGreaterThan(4900);
    expect(estimate(next, before, true).added).toBeLessThan(5200);
    expect(estimate(next, before, false).added).toBeGreaterThanOrEqual(15_000);
  });

  it('counts by its bytes beyond 64 KiB, and is never taken for blanks', () => {
    const large = request([...first.messages, user('x'.repeat(1_000_000))]);
    expect(bound(large, { of: first, tokens: 10_000 }, true)).toBeGreaterThan(940_000);
    expect(estimate(next, { of: first, tokens: 1 }, true).added).toBeGreaterThan(15_000 / 4);
  });
});

describe('what is known is read from the cache', () => {
  const first = request([user('one'), user('two')], { system: 's' });
  const next = request([user('one'), user('two'), user('three')], { system: 's' });

  it.each<[string, boolean, Request, Partial<Before>]>([
    ['soon after', true, next, {}],
    ['after five minutes', false, next, { secondsAgo: 290 }],
    ['after five minutes, if it is kept for an hour', true, next, { secondsAgo: 290, cacheLife: '1h' }],
    ['if the server has none', false, next, { cacheLife: 'none' }],
    ['if its beginning has changed', false, request([user('eins'), user('two'), user('three')], { system: 's' }), {}],
    ['if the system prompt has changed', false, request(next.messages, { system: 't' }), {}],
  ])('%s: %s', (_what, isCached, one, more) => {
    expect(estimate(one, { of: first, tokens: 20, ...more }).isCached).toBe(isCached);
  });
});
