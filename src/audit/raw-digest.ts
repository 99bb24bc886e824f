// The keyed digest of a text before it is redacted or shortened. With the key, its owner can prove
// what the text was; without it, nobody can guess a short secret from its digest.

import { createHash, createHmac, type Hmac } from 'node:crypto';
import { InvalidInput } from '../errors.ts';

/** The length of the key in bytes. */
const KEY_BYTES = 32;

/** Commits an entry to bytes that it does not show. */
export interface RawDigest {
  /** The length in bytes. */
  readonly bytes: number;
  /** HMAC-SHA256 in lower-case hex. Not set if the log has no key. */
  readonly hmac?: string;
}

/** A digest of bytes that pass by in pieces. */
export interface RunningDigest {
  update(piece: Uint8Array): void;
  digest(): RawDigest;
}

/**
 * Reads the key from the text of its file: 64 hexadecimal digits.
 * @throws InvalidInput, which never quotes the text
 */
export function parseDigestKey(text: string, where: string): Buffer {
  const hex = text.trim();
  if (!/^[0-9a-f]{64}$/i.test(hex)) {
    throw new InvalidInput(
      `${where} is not a valid key: it has ${hex.length} characters; use ${2 * KEY_BYTES} hexadecimal digits, for example from openssl rand -hex ${KEY_BYTES}`,
    );
  }
  const key = Buffer.from(hex, 'hex');
  if (new Set(key).size === 1) {
    throw new InvalidInput(`${where} is not a valid key: all its bytes are equal; use openssl rand -hex ${KEY_BYTES}`);
  }
  return key;
}

/** Digests raw texts with the gateway's key. */
export class RawDigester {
  readonly #key: Uint8Array | undefined;
  /** Names the key without revealing it, so that a reader knows which key to use. */
  readonly keyId: string | undefined;

  constructor(key: Uint8Array | undefined) {
    this.#key = key;
    this.keyId =
      key === undefined
        ? undefined
        : createHash('sha256').update('oplab audit key\n').update(key).digest('hex').slice(0, 12);
  }

  /** Digests a text (as UTF-8) or bytes. */
  of(raw: string | Uint8Array): RawDigest {
    const running = this.start();
    running.update(typeof raw === 'string' ? Buffer.from(raw) : raw);
    return running.digest();
  }

  /** Digests bytes that need not be kept. */
  start(): RunningDigest {
    const hmac: Hmac | undefined = this.#key === undefined ? undefined : createHmac('sha256', this.#key);
    let bytes = 0;
    return {
      update(piece) {
        bytes += piece.length;
        hmac?.update(piece);
      },
      digest: () => (hmac === undefined ? { bytes } : { bytes, hmac: hmac.digest('hex') }),
    };
  }
}
