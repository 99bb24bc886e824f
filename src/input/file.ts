// Files that a person names: whether one can be read, and what to say if not.

import { closeSync, fstatSync, openSync } from 'node:fs';
import { errorMessage, InvalidInput } from '../errors.ts';

/** The system's error codes, in words. What is not listed keeps the system's message. */
const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist; check the path',
  ENOTDIR: 'does not exist: a part of its path is a file; check the path',
  EISDIR: 'is a directory; name a file',
  EACCES: 'cannot be read: permission denied; check its owner and its mode',
  EPERM: 'cannot be read: permission denied; check its owner and its mode',
};

/** Why a file cannot be read, as a sentence that begins with its path. */
export function describeFileProblem(path: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return `${path === '' ? '""' : path} ${PROBLEMS[code] ?? `cannot be read: ${errorMessage(error)}`}`;
}

/**
 * Makes sure that a path names something that can be read and is no directory.
 * @param flag what the path was given with, for the error
 * @throws InvalidInput
 */
export function requireFile(path: string, flag: string): void {
  try {
    const file = openSync(path, 'r');
    try {
      if (fstatSync(file).isDirectory()) throw Object.assign(new Error('a directory'), { code: 'EISDIR' });
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new InvalidInput(`${flag}: ${describeFileProblem(path, error)}`, error);
  }
}
