// The difference of two large objects. The gateway makes it for each write, on its main thread.

import { expect, it } from 'vitest';
import { differences, withBefore } from './object-diff.ts';

const list = (name: string, count: number) => Array.from({ length: count }, (_, at) => ({ name: `${name}${at}` }));
const map = (name: string, count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${name}${at}`, '']));

it.each([
  ['lists', list],
  ['maps', map],
])(
  'takes a moment for %s of 1 MiB, and so does putting it back',
  (_what, make) => {
    for (const count of [240, 30_000]) {
      const [before, after] = [{ spec: { data: make('a', count) } }, { spec: { data: make('b', count) } }];
      const started = performance.now();
      const found = differences(before, after);
      let tree: unknown = after;
      for (const difference of found) tree = withBefore(tree, difference);
      expect(performance.now() - started).toBeLessThan(8000);
      expect(tree).toEqual(before);
      expect(found.length).toBe(count === 240 ? 480 : 1);
    }
  },
  60_000,
);
