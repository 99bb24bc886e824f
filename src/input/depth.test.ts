// Values that are nested deeply are refused where they come in, whatever would read them later.

import { expect, it } from 'vitest';
import { z } from 'zod';
import { newEntry } from '../audit/entry.ts';
import { EXPORT_FORMAT, parseExport } from '../audit/export.ts';
import { InvalidInput, NotAllowed } from '../errors.ts';
import { canonicalBody } from '../gateway/doors/kube/body.ts';
import { parseJson } from '../net/http-answer.ts';
import { isTooDeep, MAX_LEVELS } from './depth.ts';

const lists = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const maps = (levels: number) => `${'{"a":'.repeat(levels)}0${'}'.repeat(levels)}`;

it.each([MAX_LEVELS + 1, 1500, 5000, 100_000])('%d levels are refused, and as a fault of the caller', (levels) => {
  for (const deep of [lists(levels), maps(levels)]) {
    expect(isTooDeep(JSON.parse(deep))).toBe(true);
    const entry = `{"clientKey":"a","kind":"tool_call","params":${deep}}`;
    expect(() => parseJson(Buffer.from(entry), newEntry)).toThrow(InvalidInput);
    expect(() => parseJson(Buffer.from(deep), z.json())).toThrow('nested');
    expect(() => parseExport(`{"format":"${EXPORT_FORMAT}","incident":{"a":${deep}}}`, 'file')).toThrow(InvalidInput);
    for (const secret of [false, true]) {
      expect(() => canonicalBody(Buffer.from(deep), 'application/json', undefined, secret)).toThrow(NotAllowed);
    }
  }
});

it('what people write is accepted', () => {
  expect(isTooDeep(JSON.parse(lists(MAX_LEVELS)))).toBe(false);
  expect(isTooDeep(JSON.parse(`[${`${maps(50)},`.repeat(1000)}1]`))).toBe(false);
});

it('takes aliases and cycles in bounded time', () => {
  let laughs: unknown[] = [];
  for (let level = 0; level < 100; level += 1) laughs = Array.from({ length: 10 }, () => laughs);
  expect(isTooDeep(laughs)).toBe(false);
  const cycle: unknown[] = [];
  cycle.push(cycle, cycle);
  expect(isTooDeep(cycle)).toBe(true);
});
