// Parses JSON bodies of the Docker API so that the daemon reads them in the same way. Pure.
//
// Go's decoder accepts keys in any case and uses the last of two equal keys. A body is therefore
// never forwarded as received, but rewritten from the known fields. An unknown field is accepted
// only if it has a zero value (null, false, 0, "", [] or {}), and is omitted.

import * as z from 'zod';
import { InvalidInput } from '../../../errors.ts';
import { parseInput } from '../../../input/parse-input.ts';

/** An object with exactly these fields. Null means an absent field, as in Go. */
export function goObject<S extends z.ZodRawShape>(shape: S) {
  const known = new Set(Object.keys(shape));
  return z.preprocess(
    (value) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
      return Object.fromEntries(
        Object.entries(value).filter(([key, field]) => field !== null && (known.has(key) || !isZeroValue(field))),
      );
    },
    z.strictObject(shape, { error: describeUnknown }),
  );
}

function describeUnknown({ code, input, keys }: { code?: string; input?: unknown; keys?: readonly string[] }) {
  if (code !== 'unrecognized_keys' || keys === undefined) return undefined;
  const fields = new Map(Object.entries(Object(input)));
  const written = keys.map((key) => `${key} ${JSON.stringify(fields.get(key)).slice(0, 100)}`).join(', ');
  return `fields that the docker door does not know: ${written}; leave them out`;
}

/** Whether a value is what Go writes for an unset field. */
export function isZeroValue(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Parses a body. @throws InvalidInput with the name of the field */
export function parseGo<T>(body: Buffer, schema: z.ZodType<T>): T {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new InvalidInput('the body is not valid JSON', error);
  }
  return parseInput(schema, content ?? {}, 'the docker door does not accept the body', { values: 'hidden' });
}
