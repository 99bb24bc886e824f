// Values that are nested deeply are refused where they come in, whatever would read them later.

import { expect, it } from 'vitest';
import * as z from 'zod';
import { newEntry } from '../../audit/entry.ts';
import { EXPORT_FORMAT, parseExport } from '../../audit/export.ts';
import { InvalidInput, NotAllowed } from '../../errors.ts';
import { MAX_LEVELS } from '../../input/depth.ts';
import { parseJson } from '../../net/http-answer.ts';
import { canonicalBody } from './kube/body.ts';

it.each([MAX_LEVELS + 1, 1500, 5000, 100_000])('%d levels are refused, and as a fault of the caller', (levels) => {
  const lists = '['.repeat(levels) + ']'.repeat(levels);
  const maps = `${'{"a":'.repeat(levels)}0${'}'.repeat(levels)}`;
  for (const deep of [lists, maps]) {
    const entry = `{"clientKey":"a","kind":"tool_call","params":${deep}}`;
    expect(() => parseJson(Buffer.from(entry), newEntry)).toThrow(InvalidInput);
    expect(() => parseJson(Buffer.from(deep), z.json())).toThrow('nested');
    expect(() => parseExport(`{"format":"${EXPORT_FORMAT}","incident":{"a":${deep}}}`, 'file')).toThrow(InvalidInput);
    for (const secret of [false, true]) {
      expect(() => canonicalBody(Buffer.from(deep), 'application/json', undefined, secret)).toThrow(NotAllowed);
    }
  }
});
