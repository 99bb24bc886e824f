// Signatures of thinking: a keyed hash over the account, the model, the thought, and everything in
// front of it. They carry the hash of each block before, so that a check can name the first that differs.

import { createHmac } from 'node:crypto';

export interface Signed {
  /** The account whose key signs: thoughts of one are nothing to another. */
  readonly account: string;
  readonly model: string;
  readonly thought: string;
  /** The hashes of the blocks in front of it. */
  readonly before: readonly string[];
}

/** Hexadecimal digits of a block's hash in a signature. */
const DIGITS = 12;
const MAC_DIGITS = 32;

function authenticate({ account, model, thought }: Omit<Signed, 'before'>, blocks: string): string {
  return createHmac('sha256', `the double's key of account ${account}`)
    .update(JSON.stringify([model, thought, blocks]))
    .digest('hex')
    .slice(0, MAC_DIGITS);
}

export function sign(signed: Signed): string {
  const blocks = signed.before.map((digest) => digest.slice(0, DIGITS)).join('');
  return Buffer.from(`${authenticate(signed, blocks)}${blocks}`, 'hex').toString('base64');
}

/**
 * `unknown`: changed, or of another model or account. A number: the index of the first block in front
 * of it that differs from when it was signed.
 */
export function checkSignature(signature: string, signed: Signed): 'valid' | 'unknown' | number {
  const hex = Buffer.from(signature, 'base64').toString('hex');
  const blocks = hex.slice(MAC_DIGITS);
  if (hex.length < MAC_DIGITS || authenticate(signed, blocks) !== hex.slice(0, MAC_DIGITS)) return 'unknown';
  const before = signed.before.map((digest) => digest.slice(0, DIGITS));
  const then = blocks.match(new RegExp(`.{${DIGITS}}`, 'g')) ?? [];
  const differs = before.findIndex((digest, index) => digest !== then[index]);
  if (differs >= 0) return differs;
  return then.length === before.length ? 'valid' : before.length;
}
