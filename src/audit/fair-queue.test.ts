// Sessions take turns in the writer's queue.

import { describe, expect, it } from 'vitest';
import { FairQueue } from './fair-queue.ts';

interface Item {
  readonly session: string;
  readonly n: number;
  readonly size: number;
}
const queue = () =>
  new FairQueue<Item>(
    ({ session }) => session,
    ({ size }) => size,
  );
const item = (session: string, n: number, size = 1): Item => ({ session, n, size });

describe('FairQueue', () => {
  it('gives a session its turn after at most one item of each other session', () => {
    const waiting = queue();
    for (let n = 0; n < 1000; n += 1) waiting.push(item('flood', n));
    waiting.push(item('honest', 0));
    expect(waiting.take(3, 100).map(({ session }) => session)).toEqual(['flood', 'honest', 'flood']);
  });

  it('keeps the order of each session, and loses nothing', () => {
    const waiting = queue();
    const pushed = Array.from({ length: 300 }, (_, n) => item(`s${n % 7}`, n));
    for (const one of pushed) waiting.push(one);
    const taken: Item[] = [];
    while (waiting.length > 0) taken.push(...waiting.take(10, 5));
    expect(taken).toHaveLength(pushed.length);
    for (let s = 0; s < 7; s += 1) {
      const order = taken.filter(({ session }) => session === `s${s}`).map(({ n }) => n);
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }
  });

  it('takes as much as fits, and at least one item', () => {
    const waiting = queue();
    for (const size of [50, 3, 3, 3]) waiting.push(item('s', size, size));
    expect(waiting.take(10, 7).map(({ size }) => size)).toEqual([50]);
    expect(waiting.take(10, 7).map(({ size }) => size)).toEqual([3, 3]);
    expect(waiting.take(1, 7)).toHaveLength(1);
    expect(waiting.take(1, 7)).toEqual([]);
  });
});
