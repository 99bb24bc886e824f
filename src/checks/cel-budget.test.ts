// The CEL budget: 500 ms at once, and then 500 ms in 10 s, for each owner.

import { expect, it } from 'vitest';
import { CelBudget } from './cel-budget.ts';

it('gives each owner its time back slowly, up to the burst', () => {
  let now = 0;
  const budget = new CelBudget(() => now);
  budget.spend('a', 800);
  expect([budget.left('a'), budget.left('b')]).toEqual([-300, 500]);
  now += 10_000;
  expect(budget.left('a')).toBe(200);
  now += 3_600_000;
  expect(budget.left('a')).toBe(500);
});

it('remembers who used too much, however many owners there are', () => {
  const budget = new CelBudget(() => 0);
  budget.spend('a', 800);
  for (let index = 0; index < 3000; index += 1) budget.spend(`other ${index}`, 0);
  expect(budget.left('a')).toBe(-300);
});
