// A log whose storage fails refuses entries, says why, and accepts them again when it can. The
// small file systems need root.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { NewEntry } from '../../src/audit/entry.ts';
import { verifyChain } from '../../src/audit/hash-chain.ts';
import { openAuditLog } from '../../src/audit/store.ts';
import { AuditUnavailable } from '../../src/errors.ts';
import { eventually } from '../support/eventually.ts';

const run = promisify(execFile);
const authorship = { session: 'full-disk', attempt: 1, writer: 'agent' } as const;
const entry = (key: string, bytes = 0): NewEntry => ({
  clientKey: key,
  kind: 'tool_result',
  content: key,
  // The texts differ, because the same text would be stored only once.
  ...(bytes === 0 ? {} : { blob: `${key} ${'x'.repeat(bytes)}` }),
});

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-storage-'));
  file = path.join(directory, 'audit.db');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A separate file system for one test. */
async function withTmpfs<T>(size: string, work: (mount: string) => Promise<T>): Promise<T> {
  const mount = path.join(directory, 'mount');
  await mkdir(mount);
  await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', mount]);
  try {
    return await work(mount);
  } finally {
    await run('umount', ['-l', mount]);
  }
}

it('a full disk: refuses entries, and accepts them when there is room again', async () => {
  await withTmpfs('8m', async (mount) => {
    const log = await openAuditLog({ path: path.join(mount, 'audit.db') });
    const first = await log.append(authorship, entry('before'));
    const { bavail, bsize } = await statfs(mount);
    await writeFile(path.join(mount, 'ballast'), Buffer.alloc(bavail * bsize - 600 * 1024));

    let refused: string | undefined;
    for (let n = 0; refused === undefined && n < 100; n += 1) {
      await log.append(authorship, entry(`fill-${n}`, 100_000)).catch((error: unknown) => {
        expect(error).toBeInstanceOf(AuditUnavailable);
        refused = `fill-${n}`;
      });
    }
    expect(refused).toBeDefined();
    expect(log.failure).toMatch(/full/);
    await expect(log.append(authorship, entry('meanwhile'))).rejects.toBeInstanceOf(AuditUnavailable);

    await rm(path.join(mount, 'ballast'));
    await eventually(() => log.failure === undefined, { withinMs: 20_000, everyMs: 50 });
    await log.append(authorship, entry(refused ?? '', 100_000));
    await log.append(authorship, entry('after'));
    const entries = await log.read(authorship.session);
    expect(entries[0]?.hash).toBe(first.hash);
    expect(entries.filter((row) => row.clientKey === refused)).toHaveLength(1);
    expect(entries.some((row) => row.clientKey === 'meanwhile')).toBe(false);
    expect(verifyChain(authorship.session, entries)).toEqual([]);
    await log.close();
  });
});

it('a read-only volume is refused when the log is opened, and the message says what to do', async () => {
  await withTmpfs('8m', async (mount) => {
    const name = path.join(mount, 'audit.db');
    await (await openAuditLog({ path: name })).close();
    await run('mount', ['-o', 'remount,ro', mount]);
    await expect(openAuditLog({ path: name })).rejects.toThrow(/audit log .* cannot be (written|opened)/);
  });
});

it('a file that is not a database and a damaged database are refused', async () => {
  await writeFile(file, 'this is a letter, not a database; '.repeat(500));
  await expect(openAuditLog({ path: file })).rejects.toThrow(/is not a SQLite database, .*keep it as evidence/);
  await rm(file);

  const log = await openAuditLog({ path: file });
  for (let n = 0; n < 50; n += 1) await log.append(authorship, entry(`k${n}`, 3000));
  await log.close();
  const handle = await open(file, 'r+');
  const { size } = await handle.stat();
  for (let page = 3; page * 4096 < size; page += 4) await handle.write(Buffer.alloc(200, 0xff), 0, 200, page * 4096);
  await handle.close();
  await expect(openAuditLog({ path: file })).rejects.toThrow(/corrupt/);
});

it('a truncated file is refused', async () => {
  const log = await openAuditLog({ path: file });
  for (let n = 0; n < 20; n += 1) await log.append(authorship, entry(`k${n}`, 3000));
  await log.close();
  const handle = await open(file);
  const { size } = await handle.stat();
  await handle.close();
  await truncate(file, size - 8192);
  await expect(openAuditLog({ path: file })).rejects.toThrow(/corrupt/);
});

it('a second process is refused, and the first is not affected', async () => {
  const log = await openAuditLog({ path: file });
  const appender = path.join(import.meta.dirname, '../support/audit-appender.ts');
  const failed = await run(process.execPath, [appender, file, 'k', '1']).catch((error: { stdout: string }) => error);
  expect(failed.stdout).toMatch(/^failed audit log .* is in use by another process/);
  await log.append(authorship, entry('still-mine'));
  await log.close();
});

it('ten thousand appends share their fsyncs', { timeout: 120_000 }, async () => {
  const log = await openAuditLog({ path: file });
  const total = 10_000;
  let next = 0;
  const started = performance.now();
  const writer = async () => {
    while (next < total) await log.append(authorship, entry(`k${next++}`, 200));
  };
  await Promise.all(Array.from({ length: 64 }, writer));
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `audit log: ${total} appends by 64 writers in ${seconds.toFixed(1)} s, ${Math.round(total / seconds)} a second`,
  );
  const entries = await log.read(authorship.session);
  expect(entries).toHaveLength(total);
  expect(verifyChain(authorship.session, entries)).toEqual([]);
  await log.close();
});
