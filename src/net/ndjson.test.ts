// Lines of JSON in pieces of any size.

import { expect, it } from 'vitest';
import { formatNdjson, LineTooLong, parseNdjson } from './ndjson.ts';

async function parse(text: string, size: number, maxCharacters = 1000) {
  const bytes = Buffer.from(text);
  let fed = 0;
  async function* pieces() {
    for (; fed < bytes.length; fed += size) yield bytes.subarray(fed, fed + size);
  }
  const values: unknown[] = [];
  let error: unknown;
  try {
    for await (const value of parseNdjson(pieces(), { maxCharacters })) values.push(value);
  } catch (thrown) {
    error = thrown;
  }
  return { values, error, fed };
}

it.each([1, 2, 3, 7, 1000])('reads values in pieces of %i bytes', async (size) => {
  const text = `${formatNdjson({ text: 'ü🦊\n' })}\n 1\r\n${formatNdjson(null)}{"cut":`;
  expect(await parse(text, size)).toMatchObject({ values: [{ text: 'ü🦊\n' }, 1, null], error: undefined });
});

it.each([1, 3, 1000])('takes a line of the most characters, and none longer, in pieces of %i bytes', async (size) => {
  const { values, error } = await parse('"34567890"\n"345678901"\n1\n', size, 10);
  expect(values).toEqual(['34567890']);
  expect(error).toBeInstanceOf(LineTooLong);
});

it('does not wait for the end of a line that is too long', async () => {
  const { error, fed } = await parse('x'.repeat(1_000_000), 10, 100);
  expect(error).toBeInstanceOf(LineTooLong);
  expect(fed).toBeLessThan(200);
});

it('rejects a line that is not JSON', async () => {
  expect(await parse('1\nnothing\n2\n', 5)).toMatchObject({ values: [1], error: expect.any(SyntaxError) });
});
