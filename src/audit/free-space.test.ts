// The arithmetic of the reserve. test/fault/audit-reserve.test.ts has it on a real volume.

import { describe, expect, it } from 'vitest';
import { decideSpace, describeFull, hasRoom, reserveBytes, room } from './free-space.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

describe('the reserve', () => {
  it.each([
    [8, 1],
    [64, 4],
    [2048, 64],
    [1024 * 1024, 64],
  ])('of a volume of %i MiB has %i MiB', (total, reserve) => {
    expect(reserveBytes(total * MIB)).toBe(reserve * MIB);
  });

  it('is left to closing entries', () => {
    expect(room({ total: 64 * MIB, free: 5 * MIB })).toBe(MIB);
    expect(room({ total: 64 * MIB, free: 3 * MIB })).toBe(-MIB);
    expect(hasRoom({ total: 64 * MIB, free: 4.5 * MIB })).toBe(false);
    expect(hasRoom({ total: 64 * MIB, free: 5 * MIB })).toBe(true);
    expect(describeFull({ total: 64 * MIB, free: 3.5 * MIB })).toMatch(/3\.5 of 64\.0 MiB are free, and 4\.0 MiB/);
  });
});

describe('an ordinary entry', () => {
  it.each([
    ['there is room for all of it', 10 * MIB, 1000, MIB, { record: 'whole', left: 10 * MIB - 2 * (MIB + 1000) }],
    ['there is room for its row only', MIB, 1000, MIB, { record: 'without-text', left: MIB - 2000 }],
    ['there is no room for its large row', MIB, MIB, 0, { record: 'nothing', full: false }],
    ['there is no room for a small row', 100 * KIB, 1000, 0, { record: 'nothing', full: true }],
  ])('if %s', (_, left, rowBytes, textBytes, decision) => {
    expect(decideSpace(left, { rowBytes, textBytes })).toEqual(decision);
  });
});
