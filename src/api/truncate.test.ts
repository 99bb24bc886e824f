// A shortened text is never longer than its field, and never ends in half a character.

import { expect, it } from 'vitest';
import { truncate } from './truncate.ts';

it.each([
  ['short', 8, '…', 'short'],
  ['exactly8', 8, '…', 'exactly8'],
  ['a text that is too long', 8, '…', 'a text …'],
  ['a text that is too long', 8, '', 'a text t'],
  ['a text', 3, ' [cut]', ' [cut]'],
])('shortens %j to %d units with %j', (text, max, mark, wanted) => {
  expect(truncate(text, max, mark)).toBe(wanted);
});

it('never exceeds the maximum and is always well formed, wherever a surrogate pair is', () => {
  const text = 'x😀yy😀😀z'.repeat(5);
  for (let max = 1; max <= text.length + 1; max += 1) {
    const short = truncate(text, max);
    expect(short.length).toBeLessThanOrEqual(max);
    expect(short.isWellFormed()).toBe(true);
  }
});
