// Every process reads its settings in one way.

import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import * as z from 'zod';
import { parseEnvironment } from './environment.ts';

const schema = z.object({ OPLAB_A: z.string().default('default'), OPLAB_PORT: z.coerce.number().optional() });

it('takes an empty variable for an unset one', () => {
  expect(parseEnvironment(schema, { OPLAB_A: '', OPLAB_PORT: '' })).toEqual({ OPLAB_A: 'default' });
});

it('names the variable that does not fit', () => {
  expect(() => parseEnvironment(schema, { OPLAB_PORT: 'tcp://10.0.0.1:80' })).toThrow(/OPLAB_PORT/);
});

it('is the only way from the sources to the environment', () => {
  const allowed = new Map([
    ['environment.ts', 'it is the way'],
    [
      'gateway/doors/model/providers/google-auth.ts',
      "Google's library reads the environment itself, and can be told in no other way not to ask a proxy",
    ],
    ['cli/version.ts', 'the bundler replaces the expression with the version; nothing is read at run time'],
  ]);
  const readers = globSync('**/*.ts', { cwd: import.meta.dirname, exclude: ['**/*.test.ts'] }).filter((file) =>
    readFileSync(path.join(import.meta.dirname, file), 'utf8').includes('process.env'),
  );
  expect(readers.filter((file) => !allowed.has(file))).toEqual([]);
});
