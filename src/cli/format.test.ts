// The formats of single values.

import { expect, it } from 'vitest';
import { age, clock, cost, dateTime, duration } from './format.ts';

const now = new Date('2026-01-10T12:00:00Z');

it.each([
  ['2026-01-10T11:59:15Z', '45s'],
  ['2026-01-10T11:56:48Z', '3m12s'],
  ['2026-01-10T11:55:00Z', '5m'],
  ['2026-01-10T10:00:00Z', '120m'],
  ['2026-01-10T04:30:00Z', '7h'],
  ['2026-01-07T12:00:00Z', '3d'],
  ['2026-01-10T12:00:09Z', '0s'],
  [undefined, ''],
])('age of %s is %s', (from, text) => {
  expect(age(from, now)).toBe(text);
});

it('formats durations, costs and times with their units', () => {
  expect([duration(12), duration(1449), duration(192_000)]).toEqual(['12 ms', '1.4 s', '3m12s']);
  expect([cost(5), cost(12_345), cost(undefined)]).toEqual(['$0.005', '$12.345', '']);
  expect(clock('2026-01-10T04:30:01.123Z')).toBe('04:30:01');
  expect(dateTime('2026-01-10T04:30:01.123Z')).toBe('2026-01-10 04:30:01 UTC');
});

it('shows no text in the place of a time', () => {
  for (const text of ['<script>', '\u001b]0;x\u0007', '2026-01-01T10:00:00Z`x', 'T10:00:00`']) {
    expect(clock(text)).toBe('?');
    expect(dateTime(text)).toBe('?');
  }
  for (const time of ['2026-01-01T10:00:00Z', '2026-01-01T10:00:00.000Z', '2026-01-01T10:00:00.000000+02:00']) {
    expect(clock(time)).toBe('10:00:00');
    expect(dateTime(time)).toContain('2026-01-01 10:00:00');
  }
  expect(dateTime(undefined)).toBe('');
});
