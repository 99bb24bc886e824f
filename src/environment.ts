// A process's settings: environment variables, parsed once at the start with a schema.

import { z } from 'zod';
import { InvalidInput } from './errors.ts';

/** Parses the environment; empty variables count as unset. @throws InvalidInput that names each variable that does not fit */
export function parseEnvironment<T>(schema: z.ZodType<T>, environment: NodeJS.ProcessEnv = process.env): T {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = schema.safeParse(set);
  if (!parsed.success) throw new InvalidInput(`environment: ${z.prettifyError(parsed.error)}`, parsed.error);
  return parsed.data;
}
