// An expression that is slow again and again is evaluated less and less often.

import { expect, it } from 'vitest';
import { SlowExpressions } from './slow-expressions.ts';

it('refuses an expression for longer each time, and only to its owner', () => {
  let now = 0;
  const slow = new SlowExpressions(() => now);
  slow.add('a', 'x');
  expect(slow.isRefused('a', 'x')).toBe(false);
  for (const seconds of [30, 60, 120, 240, 480, 600, 600]) {
    slow.add('a', 'x');
    now += seconds * 1000 - 1;
    expect([slow.isRefused('a', 'x'), slow.isRefused('b', 'x'), slow.isRefused('a', 'y')]).toEqual([
      true,
      false,
      false,
    ]);
    now += 1;
    expect(slow.isRefused('a', 'x')).toBe(false);
  }
  slow.forget('a', 'x');
  slow.add('a', 'x');
  expect(slow.isRefused('a', 'x')).toBe(false);
});
