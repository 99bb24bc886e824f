// Signed notes: a text and the Ed25519 signatures under it, in the format of c2sp.org/signed-note.

import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { errorMessage, InvalidInput } from '../errors.ts';

/** The signature type of Ed25519 in key IDs and encoded keys. */
const ED25519 = 1;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** The most signature lines that are read. The specification asks for at least 16. */
const MAX_SIGNATURES = 64;

/** A public key under its name. */
export interface NoteVerifier {
  readonly name: string;
  /** The first four bytes of the hash over name and key, as hex. */
  readonly id: string;
  /** The key as one word: `<name>+<id>+<base64>`. */
  readonly vkey: string;
  verify(text: string, signature: Uint8Array): boolean;
}

/** A private key under its name. */
export interface NoteSigner {
  readonly verifier: NoteVerifier;
  /** The text, which ends with a newline, with a signature. @throws InvalidInput */
  sign(text: string): string;
}

/** A note whose signatures were checked. */
export type OpenedNote =
  | { readonly text: string; readonly signers: readonly [NoteVerifier, ...NoteVerifier[]] }
  | { readonly problem: string };

/** The rule for names: a URL without its scheme, which is also the log's origin. */
export const NOTE_NAME = /^[A-Za-z0-9][A-Za-z0-9._~:/-]{0,199}$/;

function keyId(name: string, key: Uint8Array): Buffer {
  return createHash('sha256').update(`${name}\n`).update(Uint8Array.of(ED25519)).update(key).digest().subarray(0, 4);
}

/** Bytes of base64 in its only valid spelling, so that no two notes differ in unused bits. */
function strictBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function verifierOf(name: string, key: Buffer, publicKey: KeyObject): NoteVerifier {
  const id = keyId(name, key).toString('hex');
  return {
    name,
    id,
    vkey: `${name}+${id}+${Buffer.concat([Uint8Array.of(ED25519), key]).toString('base64')}`,
    verify: (text, signature) => verify(null, Buffer.from(text), publicKey, signature),
  };
}

/**
 * Reads a public key in the form `<name>+<id>+<base64>`.
 * @param where where the key is from, for messages
 * @throws InvalidInput
 */
export function parseVerifier(vkey: string, where: string): NoteVerifier {
  const invalid = (why: string) =>
    new InvalidInput(`${where}: "${vkey}" is not a valid public key: ${why}; use the form <name>+<id>+<base64>`);
  const [name = '', id = '', encoded = ''] = vkey.split('+');
  // Base64 itself contains plus signs, so everything after the second one is the key.
  const bytes = strictBase64(vkey.slice(name.length + id.length + 2));
  if (!NOTE_NAME.test(name) || encoded === '') throw invalid('its name is missing or not allowed');
  if (bytes === undefined || bytes.length !== KEY_BYTES + 1 || bytes[0] !== ED25519) {
    throw invalid('it is not an Ed25519 key');
  }
  const key = bytes.subarray(1);
  if (keyId(name, key).toString('hex') !== id) throw invalid('its ID does not match its name and key');
  const x = key.toString('base64url');
  return verifierOf(name, key, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }));
}

/**
 * Reads a private key (PEM, PKCS #8).
 * @param where where the key is from, for messages
 * @throws InvalidInput
 */
export function parseSigner(name: string, pem: string, where: string): NoteSigner {
  const make = 'create one with: openssl genpkey -algorithm ed25519';
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    // The cause may quote the input, so only its message's kind is told.
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    throw new InvalidInput(`${where} is not a valid private key in PEM${code}; ${make}`);
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new InvalidInput(`${where} is not an Ed25519 key but ${key.asymmetricKeyType ?? 'unknown'}; ${make}`);
  }
  if (!NOTE_NAME.test(name)) {
    throw new InvalidInput(
      `"${name}" is not a valid name of a signing key; use letters, digits and . _ ~ : / - (at most 200 characters)`,
    );
  }
  const publicKey = createPublicKey(key);
  const { x = '' } = publicKey.export({ format: 'jwk' });
  const verifier = verifierOf(name, Buffer.from(x, 'base64url'), publicKey);
  return {
    verifier,
    sign(text) {
      if (!isNoteText(text)) throw new InvalidInput('a note must end with a newline and contain no control characters');
      const signature = Buffer.concat([Buffer.from(verifier.id, 'hex'), sign(null, Buffer.from(text), key)]);
      return `${text}\n— ${name} ${signature.toString('base64')}\n`;
    },
  };
}

function isNoteText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the specification forbids them
  return text.endsWith('\n') && text.isWellFormed() && !/[\u0000-\u0009\u000b-\u001f]/.test(text);
}

/** One signature line, without its newline. */
const SIGNATURE_LINE = /^— (?<name>[^\s+]+) (?<signature>[A-Za-z0-9+/=]+)$/u;

/**
 * Checks the signatures of a note. Signatures of unknown keys are ignored, as for witnesses. One
 * wrong signature of a known key makes the note invalid.
 */
export function openNote(note: string, known: readonly NoteVerifier[]): OpenedNote {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !isNoteText(note)) return { problem: 'it is not a signed note' };
  const text = note.slice(0, end + 1);
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) return { problem: `it has more than ${MAX_SIGNATURES} signatures` };
  const signers: NoteVerifier[] = [];
  const unknown: string[] = [];
  for (const line of lines) {
    const { name, signature } = SIGNATURE_LINE.exec(line)?.groups ?? {};
    const bytes = signature === undefined ? undefined : strictBase64(signature);
    if (name === undefined || bytes === undefined || bytes.length <= 4) {
      return { problem: 'one of its signature lines is malformed' };
    }
    const id = bytes.subarray(0, 4).toString('hex');
    const verifier = known.find((candidate) => candidate.name === name && candidate.id === id);
    if (verifier === undefined) {
      unknown.push(`${name}+${id}`);
      continue;
    }
    if (bytes.length !== SIGNATURE_BYTES + 4 || !verifies(verifier, text, bytes.subarray(4))) {
      return { problem: `the signature of ${name} is not valid` };
    }
    if (!signers.includes(verifier)) signers.push(verifier);
  }
  const [first, ...more] = signers;
  if (first === undefined) return { problem: `it is signed by ${unknown.join(', ')}, which is not a known key` };
  return { text, signers: [first, ...more] };
}

function verifies(verifier: NoteVerifier, text: string, signature: Uint8Array): boolean {
  try {
    return verifier.verify(text, signature);
  } catch (error) {
    throw new InvalidInput(`the signature of ${verifier.name} cannot be checked: ${errorMessage(error)}`, error);
  }
}
