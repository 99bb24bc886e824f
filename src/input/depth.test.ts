// How deeply a value is nested. What the doors make of it: gateway/doors/nested-bodies.test.ts.

import { expect, it } from 'vitest';
import { isTooDeep, MAX_LEVELS } from './depth.ts';

const lists = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const maps = (levels: number) => `${'{"a":'.repeat(levels)}0${'}'.repeat(levels)}`;

it('accepts what people write, and nothing deeper', () => {
  for (const nested of [lists, maps]) {
    expect(isTooDeep(JSON.parse(nested(MAX_LEVELS)))).toBe(false);
    expect(isTooDeep(JSON.parse(nested(MAX_LEVELS + 1)))).toBe(true);
  }
  expect(isTooDeep(JSON.parse(`[${`${maps(50)},`.repeat(1000)}1]`))).toBe(false);
});

it('takes aliases and cycles in bounded time', () => {
  let laughs: unknown[] = [];
  for (let level = 0; level < 100; level += 1) laughs = Array.from({ length: 10 }, () => laughs);
  expect(isTooDeep(laughs)).toBe(false);
  const cycle: unknown[] = [];
  cycle.push(cycle, cycle);
  expect(isTooDeep(cycle)).toBe(true);
});
