// What a caller may do per second: a burst, then a rate, and nobody else waits for it.

import { describe, expect, it } from 'vitest';
import { OverQuota } from '../errors.ts';
import { RateLimit } from './rate-limit.ts';

/** Takes as often as it is allowed to. @returns how often */
function takeAll(limit: RateLimit, caller: string, amount?: number): number {
  for (let taken = 0; ; taken += 1) {
    try {
      limit.take(caller, amount);
    } catch (error) {
      expect(error).toBeInstanceOf(OverQuota);
      return taken;
    }
  }
}

describe('RateLimit', () => {
  it('allows a burst, then a rate, to each caller', () => {
    let now = 0;
    const limit = new RateLimit({ unit: 'requests', perSecond: 50, burst: 100 }, () => now);
    expect(takeAll(limit, 'a')).toBe(100);
    expect(takeAll(limit, 'b')).toBe(100);
    now += 1000;
    expect(takeAll(limit, 'a')).toBe(50);
    now += 3_600_000;
    expect(takeAll(limit, 'a')).toBe(100);
  });

  it('lets something large pass, and says how long to wait after it', () => {
    let now = 0;
    const limit = new RateLimit({ unit: 'bytes', perSecond: 10, burst: 20 }, () => now);
    limit.take('a', 50);
    let refusal: unknown;
    try {
      limit.take('a', 1);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: 'OPLAB_OVER_QUOTA', retryAfterSeconds: 3 });
    now += 3001;
    limit.take('a', 1);
  });

  it('remembers who has to wait, however many callers there are', () => {
    const limit = new RateLimit({ unit: 'requests', perSecond: 1, burst: 1 }, () => 0);
    limit.take('first');
    for (let index = 0; index < 2000; index += 1) limit.take(`other-${index}`);
    expect(() => limit.take('first')).toThrow(OverQuota);
  });
});
