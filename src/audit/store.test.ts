// The store's guarantees to the gateway, tested with a real file.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AuditConflict, AuditUnavailable, SessionSealed } from '../errors.ts';
import type { Entry, NewEntry } from './entry.ts';
import { sha256, verifyChain } from './hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from './lifecycle.ts';
import { type AuditStore, openAuditLog } from './store.ts';

const uid = '6f1c0f5e-0000-4000-8000-000000000001';
const gateway = { session: uid, attempt: 0, writer: 'gateway' } as const;
const agent = { session: uid, attempt: 1, writer: 'agent' } as const;

function thought(clientKey: string, content = `thought ${clientKey}`): NewEntry {
  return { clientKey, kind: 'reasoning', content };
}

let directory: string;
let file: string;
let log: AuditStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-store-'));
  file = path.join(directory, 'audit.db');
  log = await openAuditLog({ path: file, blobCapBytes: 4096, busyTimeoutMs: 100 });
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

describe('a reservation', () => {
  const call = (clientKey: string) => ({ session: uid, attempt: 1, clientKey, bound: { costMicroUSD: 5 } });
  const end = (clientKey: string): NewEntry => ({ clientKey, kind: 'model_call', content: '' });
  const reopened = async () => {
    await log.close();
    log = await openAuditLog({ path: file, busyTimeoutMs: 100 });
    return await log.reservations();
  };

  it('survives a restart and lasts until the gateway records how the call ended', async () => {
    await log.reserve(call('model:a'));
    await log.reserve(call('model:b'));
    expect(await reopened()).toEqual([call('model:a'), call('model:b')]);
    // Only a model_call entry of the gateway removes it.
    await log.append(agent, end('model:a'));
    await log.append(gateway, thought('model:a'));
    expect(await log.reservations()).toHaveLength(2);
    await log.append(gateway, end('model:b'));
    expect(await reopened()).toEqual([call('model:a')]);
  });

  it('ends with its session', async () => {
    await log.append(gateway, openedEntry({ namespace: 'n', name: 'i', uid }, 's'));
    await log.reserve(call('model:a'));
    await log.reserve({ ...call('model:a'), session: 'another' });
    await log.seal(gateway, sealEntry('Resolved'));
    expect(await reopened()).toEqual([{ ...call('model:a'), session: 'another' }]);
  });

  it('is refused under a key that is in use, which is not a failure of the log', async () => {
    await log.reserve(call('model:a'));
    await expect(log.reserve(call('model:a'))).rejects.toThrow(AuditUnavailable);
    expect(log.failure).toBeUndefined();
  });
});

describe('append', () => {
  it('numbers entries from 1 and chains them', async () => {
    const receipts = await Promise.all(['a', 'b', 'c'].map((key) => log.append(agent, thought(key))));
    expect(receipts.map((receipt) => receipt.seq)).toEqual([1, 2, 3]);
    const entries = await log.read(uid);
    expect(entries.map((entry) => entry.content)).toEqual(['thought a', 'thought b', 'thought c']);
    expect(entries[2]?.prevHash).toBe(entries[1]?.hash);
    expect(verifyChain(uid, entries)).toEqual([]);
  });

  it('returns the first receipt for the same key and body, and stores nothing', async () => {
    const first = await log.append(agent, thought('a'));
    const again = await log.append(agent, thought('a'));
    expect(again).toEqual({ ...first, duplicate: true });
    expect(await log.head(uid)).toEqual({ entries: 1, headHash: first.hash, sealed: false });
  });

  it('refuses the same key with another body, for that entry alone', async () => {
    await log.append(agent, thought('a'));
    const [conflict, other] = await Promise.allSettled([
      log.append(agent, thought('a', 'something else')),
      log.append(agent, thought('b')),
    ]);
    expect(conflict).toMatchObject({ status: 'rejected', reason: expect.any(AuditConflict) });
    expect(other).toMatchObject({ status: 'fulfilled' });
    // Each writer has its own keys.
    await expect(log.append(gateway, thought('a', 'mine'))).resolves.toMatchObject({ duplicate: false });
  });

  it('recognises a repeated entry whose secret became known in between', async () => {
    const entry: NewEntry = { ...thought('a', 'value s3cr3t-value-1'), blob: 'out: s3cr3t-value-1' };
    const first = await log.append(agent, entry);
    log.addSecret('s3cr3t-value-1');
    expect(await log.append(agent, entry)).toEqual({ ...first, duplicate: true });
  });

  it.each(['a\ud800', 'b\udc00c', 'd\u0000e'])('keeps an entry verifiable whose key is %j', async (clientKey) => {
    const first = await log.append(agent, thought(clientKey));
    expect(await log.append(agent, thought(clientKey))).toEqual({ ...first, duplicate: true });
    const entries = await log.read(uid);
    expect(entries).toHaveLength(1);
    expect(verifyChain(uid, entries)).toEqual([]);
  });

  it('keeps text with unusual characters readable and verifiable', async () => {
    const params = {
      nul: 'a\u0000b',
      lone: '\ud800',
      emoji: '🦊',
      ['__proto__']: 'kept',
      deep: [1.5, -0, null, { z: 1, a: 2 }],
    };
    await log.append(agent, {
      clientKey: 'x',
      kind: 'tool_call',
      content: 'NUL \u0000 lone \udc00',
      params,
      blob: '\u0000🦊',
    });
    const entries = await log.read(uid);
    expect(verifyChain(uid, entries)).toEqual([]);
    expect(entries[0]?.content).toBe('NUL \u2400 lone \ufffd');
    expect(JSON.stringify(entries[0]?.params)).toContain('"__proto__":"kept"');
    expect(await log.blob(entries[0]?.blobDigest ?? '')).toBe('\u0000🦊');
  });
});

describe('blobs', () => {
  it('are redacted and stored once, by their digest', async () => {
    await log.append(agent, { ...thought('a'), blob: 'Authorization: Bearer abcdef0123456789abcdef' });
    await log.append(agent, { ...thought('b'), blob: 'Authorization: Bearer abcdef0123456789abcdef' });
    const [a, b] = await log.read(uid);
    expect(a?.blobDigest).toBe(b?.blobDigest);
    const text = await log.blob(a?.blobDigest ?? '');
    expect(text).not.toContain('abcdef0123456789');
    expect(sha256(text ?? '')).toBe(a?.blobDigest);
  });

  it('keep the head and tail of a long text and say how much is left out', async () => {
    await log.append(agent, { ...thought('a'), blob: `BEGIN${'ü'.repeat(200_000)}END` });
    const [entry] = await log.read(uid);
    const text = (await log.blob(entry?.blobDigest ?? '')) ?? '';
    expect(text.startsWith('BEGINü')).toBe(true);
    expect(text.endsWith('üEND')).toBe(true);
    expect(text).not.toContain('\ufffd');
    const leftOut = Number(/\[oplab: (\d+) bytes are left out here\]/.exec(text)?.[1]);
    const line = Buffer.byteLength(/\n\[oplab: .*\]\n/.exec(text)?.[0] ?? '');
    expect(leftOut + Buffer.byteLength(text) - line).toBe(8 + 400_000);
  });

  it('can be pruned without breaking the chain', async () => {
    await log.append(agent, { ...thought('a'), blob: 'full output' });
    await log.close();
    const db = new DatabaseSync(file);
    db.exec('DELETE FROM blobs');
    db.close();
    log = await openAuditLog({ path: file });
    expect(verifyChain(uid, await log.read(uid))).toEqual([]);
  });
});

describe('seal', () => {
  it('closes the session permanently and can be repeated', async () => {
    await log.append(agent, thought('a'));
    const sealed = await log.seal(gateway, sealEntry('Resolved'));
    expect(sealed.entries).toBe(2);
    expect(await log.seal(gateway, sealEntry('Resolved'))).toEqual(sealed);
    await expect(log.append(agent, thought('b'))).rejects.toBeInstanceOf(SessionSealed);
    // The acknowledgement of an earlier append may have been lost.
    await expect(log.append(agent, thought('a'))).resolves.toMatchObject({ seq: 1, duplicate: true });
    expect(await log.head(uid)).toEqual({ ...sealed, sealed: true });
  });
});

describe('sessions', () => {
  it('are described only by lifecycle entries of the gateway', async () => {
    await log.append(gateway, openedEntry({ namespace: 'tikv', name: 'store-down', uid }, 'a store is down'));
    await log.append(agent, {
      clientKey: 'x',
      kind: 'lifecycle',
      params: { event: 'outcome', outcome: 'Resolved' },
      content: '',
    });
    expect(await log.sessions()).toMatchObject([
      {
        session: uid,
        incident: { namespace: 'tikv', name: 'store-down', uid },
        summary: 'a store is down',
        entries: 2,
        sealed: false,
        outcome: null,
      },
    ]);
    await log.append(gateway, outcomeEntry('Escalated', 'the checks did not hold'));
    await log.seal(gateway, sealEntry('Escalated'));
    expect(await log.sessions()).toMatchObject([{ entries: 4, sealed: true, outcome: 'Escalated' }]);
  });
});

it('calls listeners once for each new entry, in order', async () => {
  const seen: Entry[] = [];
  const stop = log.onAppend((entry) => seen.push(entry));
  await Promise.all(Array.from({ length: 50 }, (_, n) => log.append(agent, thought(`${n}`))));
  await log.append(agent, thought('7'));
  stop();
  await log.append(agent, thought('unheard'));
  expect(seen.map((entry) => entry.seq)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
});

it('reads after a sequence number, with a limit, and from the end', async () => {
  await Promise.all(Array.from({ length: 10 }, (_, n) => log.append(agent, thought(`${n}`))));
  expect((await log.read(uid, { afterSeq: 3, limit: 2 })).map((entry) => entry.seq)).toEqual([4, 5]);
  expect((await log.tail(uid, 3)).map((entry) => entry.seq)).toEqual([8, 9, 10]);
  expect(await log.head('nobody')).toBeUndefined();
});

it('continues the chain after it is closed and reopened', async () => {
  const first = await log.append(agent, thought('a'));
  await log.close();
  await expect(log.append(agent, thought('b'))).rejects.toBeInstanceOf(AuditUnavailable);
  log = await openAuditLog({ path: file });
  await log.append(agent, thought('b'));
  const entries = await log.read(uid);
  expect(entries[1]?.prevHash).toBe(first.hash);
  expect(verifyChain(uid, entries)).toEqual([]);
});

it('does not allow an entry or a seal to be changed or deleted, or a blob to be changed', async () => {
  await log.append(agent, { ...thought('a'), blob: 'text' });
  await log.seal(gateway, sealEntry('Resolved'));
  await log.close();
  const db = new DatabaseSync(file);
  for (const sql of [
    "UPDATE entries SET content = 'x'",
    'DELETE FROM entries',
    'UPDATE seals SET entries = 1',
    'DELETE FROM seals',
    "UPDATE blobs SET bytes = x'00'",
  ]) {
    expect(() => db.exec(sql), sql).toThrow(/append-only|final|digest/);
  }
  db.close();
});

it('refuses a file that is already open, a foreign file, and a newer schema', async () => {
  await expect(openAuditLog({ path: file, busyTimeoutMs: 50 })).rejects.toThrow(/in use by another process/);
  const foreign = path.join(directory, 'other.db');
  const db = new DatabaseSync(foreign);
  db.exec('CREATE TABLE t (x)');
  db.close();
  await expect(openAuditLog({ path: foreign })).rejects.toThrow(/not an audit log of oplab/);
  await log.close();
  const newer = new DatabaseSync(file);
  newer.exec('PRAGMA user_version = 99');
  newer.close();
  await expect(openAuditLog({ path: file })).rejects.toThrow(/schema version 99/);
});
