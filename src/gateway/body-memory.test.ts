// The memory of bodies: a share for each caller, and a total that one caller cannot use up.

import { describe, expect, it } from 'vitest';
import { OverQuota, TooBusy } from '../errors.ts';
import { BodyMemory, bodyMemoryLimits } from './body-memory.ts';

const limits = { total: 100, share: 8, alone: 25 };

describe('BodyMemory', () => {
  it('refuses a caller that is over its share, and nobody else', () => {
    const memory = new BodyMemory(limits);
    memory.hold('greedy').grow(5);
    expect(() => memory.hold('greedy').grow(4)).toThrow(OverQuota);
    memory.hold('greedy').grow(3);
    memory.hold('other').grow(8);
    expect(memory.total).toBe(16);
  });

  it('lets one request of a caller be larger than the share, if it is the only one', () => {
    const memory = new BodyMemory(limits);
    const alone = memory.hold('one');
    alone.grow(20);
    alone.grow(5);
    expect(() => alone.grow(1)).toThrow(OverQuota);
    expect(() => memory.hold('one').grow(1)).toThrow(OverQuota);
    memory.hold('other').grow(1);
  });

  it('refuses everybody only when all callers together have no bytes left', () => {
    const memory = new BodyMemory(limits);
    for (const caller of ['a', 'b', 'c', 'd']) memory.hold(caller).grow(25);
    expect(() => memory.hold('e').grow(1)).toThrow(TooBusy);
    expect(memory.hold('e').tryGrow(1)).toBe(false);
  });

  it('takes back what a request kept, once', () => {
    const memory = new BodyMemory(limits);
    const hold = memory.hold('one');
    hold.grow(7);
    const other = memory.hold('one');
    other.grow(1);
    hold.release();
    hold.release();
    expect(memory.total).toBe(1);
    memory.hold('one').grow(7);
  });

  it('never gives one caller more than a quarter of the total', () => {
    for (const total of [16, 128 * 1024 * 1024, 1024 ** 3]) {
      const { share, alone } = bodyMemoryLimits(total);
      expect(Math.max(share, alone)).toBeLessThanOrEqual(total / 4);
    }
  });
});
