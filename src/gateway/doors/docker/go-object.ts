// JSON bodies of the Docker API, read so that nothing means something else to the daemon than it does here. Pure.
//
// Go's decoder takes keys in any case and the last of two; a body is therefore never passed on, but written anew from the
// fields that are known. A field that is not known passes only when it says nothing (null, false, 0, "", [], {}), and is left out.

import { z } from 'zod';
import { InvalidInput } from '../../../errors.ts';

/** An object with exactly these fields. Null stands for an absent field, as it does in Go. */
export function goObject<S extends z.ZodRawShape>(shape: S) {
  const known = new Set(Object.keys(shape));
  return z.preprocess((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(
      Object.entries(value).filter(([key, field]) => field !== null && (known.has(key) || !isZeroValue(field))),
    );
  }, z.strictObject(shape));
}

/** Whether a value is what Go writes for a field that nobody has set. */
export function isZeroValue(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

/** Parses a body. @throws InvalidInput, naming the field */
export function parseGo<T>(body: Buffer, schema: z.ZodType<T>): T {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw new InvalidInput('the body is not JSON', error);
  }
  const parsed = schema.safeParse(content ?? {});
  if (parsed.success) return parsed.data;
  throw new InvalidInput(`the body does not pass here: ${z.prettifyError(parsed.error)}`, parsed.error);
}
