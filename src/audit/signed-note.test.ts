// Notes and checkpoints against the examples of the format's other implementations, and forgeries.

import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { openCheckpoint, openSignedNotes, signLog } from './checkpoint.ts';
import { openNote, parseSigner, parseVerifier } from './signed-note.ts';

const newKey = () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** The example of golang.org/x/mod/sumdb/note. */
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const PETERS_NOTE = `If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
`;

describe('a note', () => {
  it('of another implementation is verified', () => {
    const peter = parseVerifier(PETER, 'test');
    expect(peter.vkey).toBe(PETER);
    expect(openNote(PETERS_NOTE, [peter])).toMatchObject({ text: expect.stringMatching(/problem is\.\n$/) });
  });

  it('is invalid after any change of one character in its text or signature', () => {
    const peter = parseVerifier(PETER, 'test');
    const passed: number[] = [];
    for (let at = 0; at < PETERS_NOTE.length; at += 1) {
      for (const by of [1, 2, 32]) {
        const changed = String.fromCharCode(PETERS_NOTE.charCodeAt(at) ^ by);
        const note = `${PETERS_NOTE.slice(0, at)}${changed}${PETERS_NOTE.slice(at + 1)}`;
        if ('text' in openNote(note, [peter])) passed.push(at);
      }
    }
    expect(passed).toEqual([]);
  });

  it('is valid with signatures of others beside ours, and invalid with only theirs', () => {
    const ours = parseSigner('ours', newKey(), 'test');
    const witness = parseSigner('witness', newKey(), 'test');
    const line = (note: string) => note.slice(note.indexOf('— '));
    const note = `${ours.sign('text\n')}${line(witness.sign('text\n'))}`;
    expect(openNote(note, [ours.verifier])).toEqual({ text: 'text\n', signers: [ours.verifier] });
    const theirs = openNote(witness.sign('text\n'), [ours.verifier]);
    expect(theirs).toEqual({ problem: expect.stringMatching(/witness\+[0-9a-f]{8}, which is not a known key/) });
  });

  it('of a key with the same name is not ours', () => {
    const ours = parseSigner('log', newKey(), 'test');
    const theirs = parseSigner('log', newKey(), 'test');
    expect(openNote(theirs.sign('text\n'), [ours.verifier])).toHaveProperty('problem');
  });
});

describe('a key', () => {
  it.each([
    ['a changed name', PETER.replace('Peter', 'Paul'), /its ID does not match/],
    ['a changed key', PETER.replace('ARpc', 'ARpd'), /its ID does not match/],
    ['another algorithm', PETER.replace('+ARpc', '+AhpC'), /not an Ed25519 key/],
    ['half of it', PETER.slice(0, 30), /not an Ed25519 key/],
    ['nothing', '', /its name is missing/],
  ])('with %s is refused', (_what, vkey, message) => {
    expect(() => parseVerifier(vkey, '--public-key')).toThrow(message);
  });

  it('that is not an Ed25519 key is refused with the fix, and is not quoted', () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const pem = rsa.export({ type: 'pkcs8', format: 'pem' }).toString();
    expect(() => parseSigner('log', pem, 'KEY_FILE')).toThrow(/KEY_FILE is not an Ed25519 key but rsa; create one/);
    expect(() => parseSigner('log', 'MY SECRET', 'KEY_FILE')).toThrow(/KEY_FILE is not a valid private key in PEM/);
    expect(() => parseSigner('log', 'MY SECRET', 'KEY_FILE')).not.toThrow(/MY SECRET/);
    expect(() => parseSigner('a b', newKey(), 'KEY_FILE')).toThrow(/"a b" is not a valid name/);
  });
});

describe('the signed state of a log', () => {
  const signer = parseSigner('example.com/log', newKey(), 'test');
  const head = (session: string, entries: number) => ({ session, entries, headHash: 'ab'.repeat(32) });
  const root = Buffer.alloc(32, 7).toString('base64');

  it('is a checkpoint and the heads, sorted by session', () => {
    const notes = signLog(signer, { size: 3, root }, [head('b', 2), head('a', 1)]);
    expect(notes.checkpoint).toMatch(/^example\.com\/log\n3\nBwcH.*=\n\n— example\.com\/log \S+\n$/);
    expect(openSignedNotes(notes, [signer.verifier])).toEqual({
      origin: 'example.com/log',
      size: 3,
      root,
      signedBy: signer.verifier,
      heads: [head('a', 1), head('b', 2)],
    });
  });

  it('does not take the heads of another checkpoint, nor a list of heads as a checkpoint', () => {
    const one = signLog(signer, { size: 1, root }, []);
    const two = signLog(signer, { size: 2, root }, []);
    const mixed = { checkpoint: two.checkpoint, heads: one.heads };
    expect(openSignedNotes(mixed, [signer.verifier])).toEqual({
      problem: expect.stringContaining('another checkpoint'),
    });
    expect(openCheckpoint(one.heads, [signer.verifier])).toEqual({ problem: 'it is not a checkpoint' });
  });

  it('must be signed by the key of its origin', () => {
    const note = signer.sign(`example.com/other\n1\n${root}\n`);
    expect(openCheckpoint(note, [signer.verifier])).toEqual({ problem: expect.stringContaining('its origin is') });
  });
});
