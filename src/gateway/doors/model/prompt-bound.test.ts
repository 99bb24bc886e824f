// No prompt has more tokens than its bound, whatever the prompts before it were.

import { describe, expect, it } from 'vitest';
import { promptParts, promptTokenBound } from './prompt-bound.ts';

type Request = Parameters<typeof promptParts>[0];

const request = (messages: readonly unknown[], rest: object = {}): Request => ({
  model: 'm',
  max_tokens: 1,
  messages: [...messages],
  ...rest,
});
const bytes = (one: Request) => Buffer.byteLength(JSON.stringify(one));
const user = (content: unknown) => ({ role: 'user', content });
const bound = (one: Request, seen?: { of: Request; tokens: number }) =>
  promptTokenBound(
    bytes(one),
    promptParts(one),
    seen === undefined ? undefined : { parts: promptParts(seen.of), tokens: seen.tokens },
  );

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
    expect(tokens).toBeLessThan(1000 + 3000 * 1.2 + 200);
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
    ['the same message a hundred times', request([user(dense)]), request(Array(100).fill(user(dense)))],
  ])('counts each byte of what is new: %s', (_what, first, next) => {
    const repeated = next.messages.length === 100 ? 99_000_000 : 1_000_000;
    expect(bound(next, { of: first, tokens: 10 })).toBeGreaterThanOrEqual(repeated);
  });
});
