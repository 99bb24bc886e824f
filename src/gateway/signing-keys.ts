// Reads the key that signs the audit log, and the public keys that signed it before.

import { readFile } from 'node:fs/promises';
import { type NoteSigner, type NoteVerifier, parseSigner, parseVerifier } from '../audit/signed-note.ts';
import { errorMessage, InvalidInput } from '../errors.ts';
import type { GatewayEnvironment } from './environment.ts';

export interface SigningKeys {
  readonly signer: NoteSigner;
  /** The key's own public half and those of earlier keys. */
  readonly verifiers: readonly NoteVerifier[];
}

/** @throws InvalidInput with the variable, what is wrong and the fix */
export async function readSigningKeys(
  environment: Pick<
    GatewayEnvironment,
    'OPLAB_SIGNING_KEY_FILE' | 'OPLAB_SIGNING_NAME' | 'OPLAB_SIGNING_PREVIOUS_KEYS'
  >,
): Promise<SigningKeys> {
  const file = environment.OPLAB_SIGNING_KEY_FILE;
  const where = `OPLAB_SIGNING_KEY_FILE: ${file}`;
  let pem: string;
  try {
    pem = await readFile(file, 'utf8');
  } catch (error) {
    throw new InvalidInput(
      `${where} cannot be read (${errorMessage(error)}); the audit log is signed with it: mount a Secret with an Ed25519 key in PEM there`,
      error,
    );
  }
  const signer = parseSigner(environment.OPLAB_SIGNING_NAME, pem, where);
  const previous = environment.OPLAB_SIGNING_PREVIOUS_KEYS.split(/\s+/)
    .filter((word) => word !== '')
    .map((vkey) => parseVerifier(vkey, 'OPLAB_SIGNING_PREVIOUS_KEYS'));
  return { signer, verifiers: [signer.verifier, ...previous] };
}
