// Reads the key with which the audit log digests what it does not show.

import { readFile } from 'node:fs/promises';
import { parseDigestKey } from '../audit/raw-digest.ts';
import { errorMessage, InvalidInput } from '../errors.ts';

/** @throws InvalidInput if the file cannot be read or is not a key. Never quotes the file. */
export async function loadDigestKey(file: string): Promise<Buffer> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new InvalidInput(
      `the key of the audit log cannot be read (${errorMessage(error)}); mount it, or set OPLAB_AUDIT_KEY_FILE to a file with 64 hexadecimal digits`,
      error,
    );
  }
  return parseDigestKey(text, file);
}
