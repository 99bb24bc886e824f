// Long entries are redacted beside the writer: they delay no other session, keep their order, and
// have a time limit.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sha256 } from './hash-chain.ts';
import { type AuditStore, type OpenOptions, openAuditLog } from './store.ts';

const MIB = 1024 * 1024;
/** Redaction takes its time for this one. */
const LONG = 'token=abc; password: x '.repeat(2 * MIB).slice(0, 3 * MIB);

let directory: string;
let log: AuditStore | undefined;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-prepare-'));
});
afterEach(async () => {
  await log?.close();
  await rm(directory, { recursive: true, force: true });
});

async function open(options: Partial<OpenOptions> = {}): Promise<AuditStore> {
  log = await openAuditLog({ path: path.join(directory, 'audit.db'), ...options });
  return log;
}

const append = (store: AuditStore, session: string, clientKey: string, blob?: string) =>
  store.append(
    { session, attempt: 1, writer: 'agent' },
    { clientKey, kind: 'tool_result', content: clientKey, ...(blob === undefined ? {} : { blob }) },
  );

it('acknowledges a short entry of another session before the long one', async () => {
  const store = await open();
  const order: string[] = [];
  const done = ['attacker-1', 'attacker-2', 'attacker-3'].map((session) =>
    append(store, session, 'long', LONG).then(() => order.push(session)),
  );
  await append(store, 'honest', 'short').then(() => order.push('honest'));
  await Promise.all(done);
  expect(order).toEqual(['honest', 'attacker-1', 'attacker-2', 'attacker-3']);
});

it('keeps the order of a session, and seals it last', async () => {
  const store = await open();
  const seal = { clientKey: 'seal', kind: 'lifecycle' as const, content: '' };
  await Promise.all([
    append(store, 's', 'a'),
    append(store, 's', 'b', LONG),
    append(store, 's', 'c'),
    append(store, 's', 'd', LONG.slice(1)),
    append(store, 's', 'e'),
    store.seal({ session: 's', attempt: 1, writer: 'gateway' }, seal),
  ]);
  const entries = await store.read('s');
  expect(entries.map(({ clientKey }) => clientKey)).toEqual(['a', 'b', 'c', 'd', 'e', 'seal']);
});

it('redacts a long text by the rules and by the secrets that became known', async () => {
  const store = await open();
  await append(store, 's', 'first', 'x'.repeat(20_000));
  store.addSecret('a-secret-of-the-gateway');
  await append(store, 's', 'second', `${'y'.repeat(20_000)} a-secret-of-the-gateway`);
  const [, second] = await store.read('s');
  const stored = await store.blob(second?.blobDigest ?? '');
  expect(stored).toContain('[redacted:literal:23]');
  expect(sha256(stored ?? '')).toBe(second?.blobDigest);
});

it('stores length and digest of a text that cannot be redacted in time, and goes on', async () => {
  const store = await open({ prepareLimitMs: 5, digestKey: Buffer.alloc(32, 'k') });
  await append(store, 's', 'long', LONG);
  await append(store, 's', 'next', 'z'.repeat(17_000));
  const [long, next] = await store.read('s');
  expect(long).toMatchObject({ content: 'long', blobDigest: null });
  expect(long?.params).toMatchObject({
    original: { blob: { bytes: 3 * MIB, hiddenBytes: 3 * MIB, omitted: 'time-limit' } },
  });
  expect(next?.content).toBe('next');
  // The same append again is not a new entry.
  expect((await append(store, 's', 'long', LONG)).duplicate).toBe(true);
  await expect(append(store, 's', 'long', `${LONG.slice(1)}!`)).rejects.toMatchObject({ code: 'OPLAB_AUDIT_CONFLICT' });
});

it('records what was accepted before it closes', async () => {
  const store = await open();
  const appended = [append(store, 's', 'a', LONG), append(store, 's', 'b'), append(store, 't', 'c', LONG)];
  await store.close();
  expect((await Promise.all(appended)).map(({ seq }) => seq)).toEqual([1, 2, 1]);
});
