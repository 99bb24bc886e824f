// What an entry says about its raw form: that the record commits to what it does not show.

import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { AuditConflict, InvalidInput } from '../errors.ts';
import type { NewEntry } from './entry.ts';
import { canonicalJson, verifyChain } from './hash-chain.ts';
import { hiddenBytes, readOriginal } from './original.ts';
import { parseDigestKey, RawDigester } from './raw-digest.ts';
import type { AuditStore } from './store.ts';

const agent = { session: '6f1c0f5e-0000-4000-8000-000000000001', attempt: 1, writer: 'agent' } as const;
const key = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
const SECRET = 'hunter2hunter2hunter2';
const hmac = (text: string, by = key) => createHmac('sha256', by).update(text).digest('hex');

let directory: string;
let log: AuditStore;
const open = async (digestKey: Buffer = key, literals: string[] = []) => {
  log = await openLogInThisThread({ path: path.join(directory, 'audit.db'), digestKey, literals, blobCapBytes: 4096 });
};
const reopen = async (digestKey: Buffer, literals: string[] = []) => {
  await log.close();
  await open(digestKey, literals);
};
const stored = async (entry: NewEntry) => {
  const { seq } = await log.append(agent, entry);
  const [found] = await log.read(agent.session, { afterSeq: seq - 1, limit: 1 });
  if (found === undefined) throw new Error('the entry is missing');
  return found;
};

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-original-'));
  await open();
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

describe('an entry', () => {
  it('says nothing about its raw form if it shows all of it', async () => {
    const entry = await stored({
      clientKey: 'a',
      kind: 'tool_call',
      content: 'ls',
      params: { command: 'ls' },
      blob: 'x',
    });
    expect(entry.params).toEqual({ command: 'ls' });
  });

  it('commits to each part that was redacted, and to no other', async () => {
    const content = `login --password=${SECRET}`;
    const entry = await stored({ clientKey: 'a', kind: 'tool_call', content, params: { command: 'ls' }, blob: 'x' });
    expect(entry.content).not.toContain(SECRET);
    const original = readOriginal(entry.params);
    expect(original?.content).toEqual({ bytes: content.length, hmac: hmac(content), hiddenBytes: SECRET.length });
    expect(original).toEqual({ key: new RawDigester(key).keyId, content: original?.content });
    expect(verifyChain(agent.session, await log.read(agent.session))).toEqual([]);
  });

  it('commits to redacted params as canonical JSON, and to a redacted and shortened text', async () => {
    const params = { command: `mysql -p x --token=${SECRET}`, a: 1 };
    const blob = `password=${SECRET}\n${'line\n'.repeat(4000)}`;
    const entry = await stored({ clientKey: 'a', kind: 'tool_result', content: '', params, blob });
    const original = readOriginal(entry.params);
    expect(original?.params).toMatchObject({ hmac: hmac(canonicalJson(params)), hiddenBytes: SECRET.length });
    expect(original?.blob).toMatchObject({ bytes: blob.length, hmac: hmac(blob) });
    const shown = (await log.blob(entry.blobDigest ?? '')) ?? '';
    expect(original?.blob?.hiddenBytes).toBeGreaterThanOrEqual(blob.length - shown.length);
    expect(hiddenBytes(original ?? {})).toBeGreaterThan(15_000);
  });

  it.each([
    ['its length', 'y'.repeat(20_000)],
    ['a NUL', 'a\u0000b'],
    ['half of a surrogate pair', 'a\ud800b'],
  ])('commits to a content that was changed for %s', async (_, content) => {
    const entry = await stored({ clientKey: 'a', kind: 'reasoning', content });
    expect(readOriginal(entry.params)?.content).toMatchObject({
      hmac: hmac(content),
      bytes: Buffer.byteLength(content),
    });
  });

  it.each([
    ['an object', { original: { content: { bytes: 1, hmac: 'forged' } }, command: 'ls' }],
    ['an object with a secret', { original: 'forged', command: `--password=${SECRET}` }],
  ])('replaces the reserved key in %s of a caller', async (_, params) => {
    const entry = await stored({ clientKey: 'a', kind: 'tool_call', content: '', params });
    expect(JSON.stringify(entry.params)).not.toContain('forged');
    expect(readOriginal(entry.params)?.params).toMatchObject({ hmac: hmac(canonicalJson(params)) });
  });

  it('keeps params that are not an object', async () => {
    const entry = await stored({ clientKey: 'a', kind: 'tool_call', content: `--password=${SECRET}`, params: [1, 2] });
    expect(entry.params).toMatchObject({ value: [1, 2], original: { content: { hmac: expect.any(String) } } });
  });
});

describe('a repeated append', () => {
  const entry: NewEntry = {
    clientKey: 'a',
    kind: 'tool_call',
    content: `--password=${SECRET} and plainsecretvalue`,
    params: ['plainsecretvalue', `token=${SECRET}`],
    blob: `password=${SECRET} plainsecretvalue`,
  };

  it('is recognised after the key was changed, and after a secret became known', async () => {
    const first = await log.append(agent, entry);
    const otherKey = Buffer.from(key).reverse();
    for (const literals of [[], ['plainsecretvalue']]) {
      for (const current of [key, otherKey]) {
        await reopen(current, literals);
        expect(await log.append(agent, entry)).toEqual({ ...first, duplicate: true });
      }
    }
  });

  it('is recognised if only a later secret made a digest necessary', async () => {
    const plain: NewEntry = { clientKey: 'b', kind: 'tool_call', content: 'x', params: ['plainsecretvalue'] };
    const first = await log.append(agent, plain);
    await reopen(key, ['plainsecretvalue']);
    expect(await log.append(agent, plain)).toEqual({ ...first, duplicate: true });
  });

  it('is a conflict if only the hidden part differs', async () => {
    await log.append(agent, entry);
    const other = 'hunter3hunter3hunter3';
    await expect(
      log.append(agent, { ...entry, content: `--password=${other} and plainsecretvalue` }),
    ).rejects.toBeInstanceOf(AuditConflict);
  });
});

describe('the owner of the key', () => {
  it('proves with openssl what a redacted text was, as the documentation says', async () => {
    const blob = `password=${SECRET}\n`;
    const entry = await stored({ clientKey: 'a', kind: 'tool_result', content: '', blob });
    const docs = await readFile(new URL('../../docs/audit.md', import.meta.url), 'utf8');
    const command = /^openssl dgst .*$/m.exec(docs)?.[0];
    expect(command, 'docs/audit.md shows the command').toBeDefined();
    await writeFile(path.join(directory, 'hmac-key'), `${key.toString('hex')}\n`);
    await writeFile(path.join(directory, 'text'), blob);
    const { stdout } = await promisify(execFile)('sh', ['-c', command ?? ''], { cwd: directory });
    expect(stdout.trim().split(/[ =]+/).at(-1)).toBe(readOriginal(entry.params)?.blob?.hmac);
  });
});

describe('the key', () => {
  it.each([
    ['', /0 characters/],
    ['abc', /3 characters/],
    ['g'.repeat(64), /64 hexadecimal digits/],
    ['0'.repeat(64), /all its bytes are equal/],
    ['ab'.repeat(33), /66 characters/],
  ])('is refused if it is %j, and is not quoted', (text, message) => {
    expect(() => parseDigestKey(text, 'file')).toThrow(InvalidInput);
    expect(() => parseDigestKey(text, 'file')).toThrow(message);
    if (text.length > 3) expect(() => parseDigestKey(text, 'file')).not.toThrow(text);
  });
});
