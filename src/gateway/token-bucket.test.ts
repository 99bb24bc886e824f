// The write limit: a burst, then a steady rate, in order.

import { describe, expect, it } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

describe('TokenBucket', () => {
  it('allows a burst and then a steady rate', async () => {
    let now = 0;
    const bucket = new TokenBucket(10, {
      now: () => now,
      wait: async (ms) => {
        now += ms;
      },
    });
    const times: number[] = [];
    await Promise.all(Array.from({ length: 30 }, () => bucket.take().then(() => times.push(now))));
    expect(times.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 0));
    expect(times[29]).toBeGreaterThanOrEqual(2000);
    expect(times[29]).toBeLessThan(2100);
    expect(times).toEqual(times.toSorted((left, right) => left - right));
  });
});
