// The catalogue is closed, and it alone defines the properties of a code.

import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ERRORS, isErrorCode } from './error-codes.ts';
import { InvalidInput, isOplabError, OplabError } from './errors.ts';

const root = path.dirname(import.meta.dirname);

it('does not compile with a code that is not in the catalogue', () => {
  // @ts-expect-error: the code is unknown
  const error = new OplabError('OPLAB_NOT_IN_THE_CATALOGUE', 'message');
  expect(isErrorCode(error.code)).toBe(false);
});

it('takes the exit code from the catalogue', () => {
  expect(new InvalidInput('message').exitCode).toBe(ERRORS.OPLAB_INVALID_INPUT.exitCode);
});

it("recognises an error from another bundle's copy of the class by its code", () => {
  const foreign = Object.assign(new Error('message'), { code: 'OPLAB_NOT_FOUND', exitCode: 3 });
  expect(isOplabError(foreign)).toBe(true);
  expect(isOplabError(Object.assign(new Error('message'), { code: 'OPLAB_ELSE' }))).toBe(false);
  expect(isOplabError(Object.assign(new Error('message'), { code: 'toString' }))).toBe(false);
});

it.each(Object.entries(ERRORS))('%s has an error status and is used', (code, { status, retry }) => {
  expect(status).toBeGreaterThanOrEqual(400);
  // Clients retry a status of 500 or more by themselves, and 429 if it says when. They retry another
  // status only if built to do so.
  if (status < 500 && status !== 429) expect(retry).toBe(code === 'OPLAB_NO_LEASE_YET');
  const sources = globSync('{src,lab,hack}/**/*.ts', { cwd: root, exclude: ['**/*.test.ts'] });
  const uses = sources.flatMap((file) => readFileSync(path.join(root, file), 'utf8').split(`'${code}'`).slice(1));
  expect(uses.length).toBeGreaterThan(0);
});
