// Pruning with a real file: what goes, what stays, and that nothing else can be deleted.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InvalidInput, SessionSealed } from '../errors.ts';
import { AuditDatabase } from './database.ts';
import { verifyChain } from './hash-chain.ts';
import { openedEntry, sealEntry } from './lifecycle.ts';
import { selectPrunable } from './prune.ts';
import { parseDays } from './retention.ts';
import { type AuditStore, openAuditLog } from './store.ts';
import { isSound, verifyFile } from './verify.ts';

const [OLD, OPEN, OTHER] = ['old', 'open', 'other'];
const gateway = (session: string) => ({ session, attempt: 0, writer: 'gateway' }) as const;
const later = () => new Date(Date.now() + 1000);

let directory: string;
let file: string;
let log: AuditStore;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-prune-'));
  file = path.join(directory, 'audit.db');
  log = await openAuditLog({ path: file });
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

async function record(session: string, texts: readonly string[], seal: boolean): Promise<string> {
  await log.append(gateway(session), openedEntry({ namespace: 'n', name: session, uid: session }, 's'));
  await Promise.all(
    texts.map((blob, n) => log.append(gateway(session), { clientKey: `${n}`, kind: 'tool_result', content: '', blob })),
  );
  if (!seal) return '';
  return (await log.seal(gateway(session), sealEntry('Resolved'))).headHash;
}

/** Runs SQL on the file as somebody would who can write it. */
function direct<T>(work: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(file);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

describe('prune', () => {
  it('deletes a sealed session, and keeps its number of entries and its head', async () => {
    const headHash = await record(OLD, ['a', 'b'], true);
    await record(OPEN, ['c'], false);
    expect((await log.prune(later())).map(({ session }) => session)).toEqual([OLD]);
    expect(await log.read(OLD)).toEqual([]);
    expect(await log.head(OLD)).toMatchObject({ entries: 4, headHash, sealed: true, prunedAt: expect.any(String) });
    const summary = (await log.sessions()).find(({ session }) => session === OLD);
    expect(summary).toMatchObject({ incident: { name: OLD }, entries: 4, outcome: 'Resolved', sealed: true });
    expect(verifyChain(OPEN, await log.read(OPEN))).toEqual([]);
    await log.close();
    expect(direct((db) => db.prepare('SELECT count(*) AS n FROM entries WHERE session = ?').get(OLD))).toEqual({
      n: 0,
    });
  });

  it('keeps sessions that are young or not sealed, and deletes none twice', async () => {
    await record(OLD, ['a'], true);
    await record(OPEN, ['c'], false);
    expect(await log.prune(new Date(Date.now() - 60_000))).toEqual([]);
    expect(await log.prune(later())).toHaveLength(1);
    expect(await log.prune(later())).toEqual([]);
    expect(await log.read(OPEN)).toHaveLength(2);
  });

  it('keeps a text that another session names as well', async () => {
    await record(OLD, ['shared', 'only here'], true);
    await record(OTHER, ['shared'], false);
    const digests = (await log.read(OLD)).flatMap(({ blobDigest }) => blobDigest ?? []);
    await log.prune(later());
    const texts = await Promise.all(digests.map((digest) => log.blob(digest)));
    expect(texts.sort()).toEqual(['shared', undefined]);
    await log.close();
    expect(isSound(verifyFile(file))).toBe(true);
  });

  it('accepts no more entries of the session, and repeats its seal', async () => {
    const headHash = await record(OLD, ['a'], true);
    await log.prune(later());
    await expect(log.append(gateway(OLD), { clientKey: 'x', kind: 'reasoning', content: '' })).rejects.toThrow(
      SessionSealed,
    );
    await expect(log.append(gateway(OLD), openedEntry({ namespace: 'n', name: OLD, uid: OLD }, 's'))).rejects.toThrow(
      SessionSealed,
    );
    expect(await log.seal(gateway(OLD), sealEntry('Resolved'))).toEqual({ entries: 3, headHash });
  });

  it('finishes what an earlier process began', async () => {
    await record(
      OLD,
      Array.from({ length: 300 }, (_, n) => `text ${n}`),
      true,
    );
    await log.close();
    const db = AuditDatabase.openForWriting(file, 1000);
    const [summary] = db.sessions();
    if (summary === undefined) throw new Error('the session is missing');
    db.transaction(() => db.pruning.entomb(summary, new Date().toISOString()));
    db.transaction(() => db.pruning.deleteSome());
    db.close();
    // In between, the file is sound, and no row of the session is shown.
    expect(isSound(verifyFile(file))).toBe(true);
    log = await openAuditLog({ path: file });
    expect(await log.read(OLD)).toEqual([]);
    expect(await log.prune(new Date(0))).toEqual([]);
    await log.close();
    expect(direct((raw) => raw.prepare('SELECT count(*) AS n FROM entries').get())).toEqual({ n: 0 });
    expect(direct((raw) => raw.prepare('SELECT count(*) AS n FROM blobs').get())).toEqual({ n: 0 });
  });

  it('makes the file smaller, and delays no append for long', { timeout: 120_000 }, async () => {
    await record(
      OLD,
      Array.from({ length: 20 }, () => randomBytes(512 * 1024).toString('hex')),
      true,
    );
    await record(OPEN, ['kept'], false);
    const size = async () => (await stat(file)).size;
    const before = await size();
    /** The slowest of the appends that are made until `work` has ended, in milliseconds. */
    const slowest = async (name: string, work: () => Promise<unknown>) => {
      let most = 0;
      let ended = false;
      const working = work().finally(() => {
        ended = true;
      });
      for (let n = 0; !ended; n += 1) {
        const started = performance.now();
        await log.append(gateway(OPEN), { clientKey: `${name}-${n}`, kind: 'reasoning', content: 'x' });
        most = Math.max(most, performance.now() - started);
        await sleep(5);
      }
      await working;
      return most;
    };
    // The machine may be busy with something else, which is seen without a prune as well.
    const idle = await slowest('idle', () => sleep(1000));
    expect(await slowest('pruning', () => log.prune(later()))).toBeLessThan(Math.max(1000, 3 * idle));
    await log.close();
    expect(before).toBeGreaterThan(20 * 1024 * 1024);
    expect(await size()).toBeLessThan(2 * 1024 * 1024);
  });
});

describe('the tombstone', () => {
  it('is checked against the anchors in the status', async () => {
    const headHash = await record(OLD, ['a'], true);
    await log.prune(later());
    await log.close();
    const verify = (anchor: { entries: number; headHash: string; sealed: boolean }) =>
      verifyFile(file, { anchors: new Map([[OLD, [{ source: 'status', ...anchor }]]]) }).sessions[0];
    expect(verify({ entries: 3, headHash, sealed: true })).toMatchObject({
      findings: [],
      independent: true,
      pruned: { headHash },
    });
    expect(verify({ entries: 2, headHash: 'earlier', sealed: false })?.findings).toEqual([]);
    expect(verify({ entries: 3, headHash: 'f'.repeat(64), sealed: true })?.findings).toMatchObject([
      { kind: 'wrong-head' },
    ]);
    expect(verify({ entries: 4, headHash, sealed: false })?.findings).toMatchObject([{ kind: 'truncated' }]);
  });

  it.each([
    ['an entry is deleted without one', "DELETE FROM entries WHERE session = 'old'", /append-only/],
    ['a seal is deleted without one', "DELETE FROM seals WHERE session = 'old'", /a seal is final/],
    [
      'it is for a session that is not sealed',
      "INSERT INTO pruned VALUES ('open', 2, 'x', 't', '{}')",
      /only a sealed session can be pruned/,
    ],
    [
      'it says something else than the seal',
      "INSERT INTO pruned SELECT session, entries - 1, head_hash, 't', '{}' FROM seals",
      /only a sealed session can be pruned/,
    ],
  ])('does not allow that %s', async (_, sql, message) => {
    await record(OLD, ['a'], true);
    await record(OPEN, ['a'], false);
    await log.close();
    expect(() => direct((db) => db.exec(sql))).toThrow(message);
  });

  it.each([
    ['deleted', 'DELETE FROM pruned', /a tombstone is final/],
    ['changed', "UPDATE pruned SET head_hash = 'x'", /a tombstone is final/],
    [
      'followed by entries',
      "INSERT INTO entries SELECT 'old', seq, time, attempt, writer, client_key, kind, tool, params, exit_code, duration_ms, content, blob_digest, prev_hash, hash FROM entries LIMIT 1",
      /pruned/,
    ],
  ])('cannot be %s', async (_, sql, message) => {
    await record(OLD, ['a'], true);
    await record(OPEN, ['a'], false);
    await log.prune(later());
    await log.close();
    expect(() => direct((db) => db.exec(sql))).toThrow(message);
  });
});

describe('which sessions', () => {
  const session = {
    session: 's',
    incident: { namespace: 'n', name: 'i', uid: 's' },
    summary: '',
    entries: 1,
    headHash: 'h',
    outcome: null,
  };
  const at = (lastAt: string, more: object) => ({ ...session, openedAt: lastAt, lastAt, sealed: true, ...more });
  it.each([
    ['old and sealed', at('2026-01-01T00:00:00.000Z', {}), 1],
    ['not sealed', at('2026-01-01T00:00:00.000Z', { sealed: false }), 0],
    ['pruned before', at('2026-01-01T00:00:00.000Z', { prunedAt: 'x' }), 0],
    ['young', at('2026-03-01T00:00:00.000Z', {}), 0],
  ])('selects one that is %s: %#', (_, summary, count) => {
    expect(selectPrunable([summary], new Date('2026-02-01T00:00:00Z'))).toHaveLength(count);
  });
});

describe('parseDays', () => {
  it.each(['', '90', '0d', '-1d', '1h', '999999d', '9e9d'])('refuses %j, and says what to use', (text) => {
    expect(() => parseDays(text, '--older-than')).toThrow(InvalidInput);
    expect(() => parseDays(text, '--older-than')).toThrow(/use 1d to 36500d/);
  });
  it('accepts days', () => expect(parseDays('90d', 'x')).toBe(90 * 86_400_000));
});
