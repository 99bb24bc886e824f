// A process's settings: environment variables, parsed once at the start with a schema.

import { readFile } from 'node:fs/promises';
import type * as z from 'zod';
import { errorMessage, InvalidInput } from './errors.ts';
import { parseInput } from './input/parse-input.ts';

/** Parses the environment; empty variables count as unset. @throws InvalidInput that names each variable that does not fit */
export function parseEnvironment<T>(schema: z.ZodType<T>, environment: NodeJS.ProcessEnv = process.env): T {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  return parseInput(schema, set, 'environment', { values: 'hidden' });
}

/** The shortest key of a file, in characters. */
const MIN_KEY = 32;

/**
 * Reads a key that the chart has made up; undefined without a file.
 * @param variable the environment variable that names the file, for the error
 * @throws InvalidInput
 */
export async function readKeyFile(variable: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  let key: string;
  try {
    key = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new InvalidInput(`${variable}: ${file} cannot be read: ${errorMessage(error)}`, error);
  }
  if (key.length >= MIN_KEY) return key;
  throw new InvalidInput(
    `${variable}: the key in ${file} has ${key.length} characters; use a random one of at least ${MIN_KEY}`,
  );
}
