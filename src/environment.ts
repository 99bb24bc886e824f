// A process's settings: environment variables, parsed once at the start with a schema.

import type { z } from 'zod';
import { parseInput } from './input/parse-input.ts';

/** Parses the environment; empty variables count as unset. @throws InvalidInput that names each variable that does not fit */
export function parseEnvironment<T>(schema: z.ZodType<T>, environment: NodeJS.ProcessEnv = process.env): T {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  return parseInput(schema, set, 'environment', { values: 'hidden' });
}
