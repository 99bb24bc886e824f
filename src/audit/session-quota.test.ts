// The limits of a session on disk, with a real file.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LimitReached } from '../errors.ts';
import type { NewEntry } from './entry.ts';
import { verifyChain } from './hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from './lifecycle.ts';
import { readOriginal } from './original.ts';
import { decideQuota, limitsOnVolume, TEXT_SHARE } from './session-quota.ts';
import { type AuditStore, openAuditLog } from './store.ts';

const MIB = 1024 * 1024;
const attacker = '6f1c0f5e-0000-4000-8000-00000000000a';
const bystander = '6f1c0f5e-0000-4000-8000-00000000000b';
const by = (session: string, writer: 'agent' | 'gateway' = 'agent') => ({ session, attempt: 1, writer });

let directory: string;
let log: AuditStore;
const open = async (limits: { bytes: number; entries: number }) => {
  log = await openAuditLog({ path: path.join(directory, 'audit.db'), limits, digestKey: Buffer.alloc(32, 7) });
};
const fileBytes = async () => {
  await log.close();
  return (await stat(path.join(directory, 'audit.db'))).size;
};

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-quota-'));
});
afterEach(async () => {
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

/** Appends until the session is refused, some at a time, because they share a commit. */
async function flood(next: (n: number) => NewEntry, most: number): Promise<{ recorded: number; refusal: unknown }> {
  let recorded = 0;
  for (let n = 0; n < most; n += 50) {
    const some = Array.from({ length: Math.min(50, most - n) }, (_, index) =>
      log.append(by(attacker), next(n + index)),
    );
    const results = await Promise.allSettled(some);
    recorded += results.filter(({ status }) => status === 'fulfilled').length;
    const refused = results.find((result) => result.status === 'rejected');
    if (refused !== undefined) return { recorded, refusal: refused.reason };
  }
  return { recorded, refusal: undefined };
}

/** Forty refused writes of 1 MiB of random base64, as one session could record them. */
const incompressible = (n: number): NewEntry => ({
  clientKey: `k${n}`,
  kind: 'tool_result',
  content: 'exit 1',
  blob: randomBytes(768 * 1024).toString('base64'),
});

describe('a session that floods the log', () => {
  it('fills the file if its limit is far away', async () => {
    await open({ bytes: 1024 * MIB, entries: 20_000 });
    expect((await flood(incompressible, 12)).recorded).toBe(12);
    expect(await fileBytes()).toBeGreaterThan(12 * MIB);
  });

  it('does not grow the file beyond its limit with large texts, which become digests', async () => {
    await open({ bytes: 4 * MIB, entries: 20_000 });
    await flood(incompressible, 40);
    const entries = await log.read(attacker);
    const last = readOriginal(entries.at(-1)?.params);
    expect(last?.blob).toMatchObject({ bytes: MIB, hiddenBytes: MIB, omitted: 'session-limit' });
    expect(last?.blob?.hmac).toMatch(/^[0-9a-f]{64}$/);
    expect(entries.at(-1)?.blobDigest).toBeNull();
    expect(entries.filter(({ blobDigest }) => blobDigest !== null)).toHaveLength(2);
    expect(verifyChain(attacker, entries)).toEqual([]);
    expect(await fileBytes()).toBeLessThan(5 * MIB);
  }, 60_000);

  const shapes: readonly [string, (n: number) => NewEntry][] = [
    ['contents', (n) => ({ clientKey: `k${n}`, kind: 'reasoning', content: randomBytes(6000).toString('base64') })],
    ['short contents', (n) => ({ clientKey: `k${n}`, kind: 'reasoning', content: String(n) })],
    [
      'contents that just exceed half a page',
      (n) => ({ clientKey: `k${n}`, kind: 'reasoning', content: 'x'.repeat(1300) }),
    ],
    [
      'params',
      (n) => ({
        clientKey: `k${n}`,
        kind: 'tool_call',
        content: '',
        params: { a: randomBytes(90_000).toString('base64') },
      }),
    ],
    ['long keys', (n) => ({ clientKey: `${'k'.repeat(120)}${n}`, kind: 'lifecycle', content: '' })],
    [
      'short texts',
      (n) => ({
        clientKey: `k${n}`,
        kind: 'tool_result',
        content: '',
        blob: `${n} ${randomBytes(50).toString('hex')}`,
      }),
    ],
  ];
  it.each(shapes)(
    'does not grow the file beyond its limit with %s',
    async (_, next) => {
      await open({ bytes: MIB, entries: 1_000_000 });
      const { refusal } = await flood(next, 4000);
      expect(refusal).toBeInstanceOf(LimitReached);
      expect(refusal).toMatchObject({ limit: 'record', code: 'OPLAB_LIMIT_REACHED' });
      // Tables, indexes and the log's own pages are in this number too.
      expect(await fileBytes()).toBeLessThan(1.35 * MIB);
    },
    60_000,
  );

  it('is refused at its number of entries, and after a restart as well', async () => {
    const limits = { bytes: 64 * MIB, entries: 100 };
    await open(limits);
    const small = (n: number): NewEntry => ({ clientKey: `k${n}`, kind: 'reasoning', content: 'x' });
    expect((await flood(small, 200)).recorded).toBe(100);
    await log.close();
    await open(limits);
    await expect(log.append(by(attacker), small(999))).rejects.toThrow(/100 of 100 entries/);
    // A retry of what was recorded is no new entry.
    expect(await log.append(by(attacker), small(5))).toMatchObject({ duplicate: true });
  });

  it('stops no other session, and its own claim, outcome and seal are recorded', async () => {
    await open({ bytes: MIB, entries: 1000 });
    await log.append(by(attacker, 'gateway'), openedEntry({ namespace: 'n', name: 'i', uid: attacker }, 's'));
    await flood((n) => ({ clientKey: `k${n}`, kind: 'reasoning', content: 'x'.repeat(16_000) }), 50);
    await flood((n) => ({ clientKey: `small${n}`, kind: 'reasoning', content: 'x' }), 2000);
    await log.append(by(bystander), { clientKey: 'a', kind: 'tool_result', content: 'fine', blob: 'whole text' });
    const [entry] = await log.read(bystander);
    expect(await log.blob(entry?.blobDigest ?? '')).toBe('whole text');

    const claim = { clientKey: 'claim:1', kind: 'lifecycle', content: 'the agent claims Fixed' } as const;
    await expect(log.append(by(attacker, 'agent'), claim)).rejects.toBeInstanceOf(LimitReached);
    await log.append(by(attacker, 'gateway'), claim);
    for (const kind of ['kube_outcome', 'docker_outcome', 'model_call'] as const) {
      await log.append(by(attacker, 'gateway'), { clientKey: kind, kind, content: '200', blob: 'y'.repeat(MIB) });
    }
    await expect(
      log.append(by(attacker, 'gateway'), { clientKey: 'intent', kind: 'kube_intent', content: 'patch' }),
    ).rejects.toBeInstanceOf(LimitReached);
    // What a check of the author's can repeat at will is not unlimited.
    await expect(
      log.append(by(attacker, 'gateway'), {
        clientKey: 'check:x',
        kind: 'lifecycle',
        content: 'x'.repeat(16_000),
        params: { event: 'check' },
      }),
    ).rejects.toBeInstanceOf(LimitReached);
    await log.append(by(attacker, 'gateway'), outcomeEntry('Escalated', 'LimitReached'));
    await log.seal(by(attacker, 'gateway'), sealEntry('Escalated'));
    expect(verifyChain(attacker, await log.read(attacker))).toEqual([]);
    expect(await fileBytes()).toBeLessThan(2 * MIB);
  });
});

describe('limitsOnVolume', () => {
  it.each([
    [2048, 64],
    [512, 64],
    [64, 8],
    [undefined, 64],
  ])('on a volume with %s usable MiB, a session may use %s MiB', (usable, bytes) => {
    const limits = limitsOnVolume({ bytes: 64 * MIB, entries: 5 }, usable === undefined ? undefined : usable * MIB);
    expect(limits).toEqual({ bytes: bytes * MIB, entries: 5 });
  });
});

describe('decideQuota', () => {
  const limits = { bytes: 1000, entries: 10 };
  const entry = (rowBytes: number, textBytes = 0, unlimited = false) => ({ rowBytes, textBytes, unlimited });
  it.each([
    ['everything fits', { bytes: 0, entries: 0 }, entry(10, 100), 'whole'],
    [
      'the text would pass the share of texts',
      { bytes: 1000 * TEXT_SHARE - 50, entries: 0 },
      entry(10, 100),
      'without-text',
    ],
    ['only the row fits', { bytes: 980, entries: 0 }, entry(10, 100), 'without-text'],
    ['not even the row fits', { bytes: 995, entries: 0 }, entry(10), 'nothing'],
    ['there are too many entries', { bytes: 0, entries: 10 }, entry(10), 'nothing'],
    ['a closing entry comes after the limit', { bytes: 5000, entries: 50 }, entry(10, 10, true), 'without-text'],
  ] as const)('if %s', (_, usage, one, record) => {
    expect(decideQuota(usage, limits, one).record).toBe(record);
  });
});
