// A full audit volume: new work stops while some space is left, and what has begun can still end.
// The small file systems need root.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NewEntry } from '../../src/audit/entry.ts';
import { reserveBytes } from '../../src/audit/free-space.ts';
import { verifyChain } from '../../src/audit/hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../../src/audit/lifecycle.ts';
import { readOriginal } from '../../src/audit/original.ts';
import { type AuditStore, openAuditLog } from '../../src/audit/store.ts';
import { AuditUnavailable } from '../../src/errors.ts';
import { eventually } from '../support/eventually.ts';

const run = promisify(execFile);
const KIB = 1024;
const MIB = 1024 * KIB;
const session = '6f1c0f5e-0000-4000-8000-00000000000c';
const agent = { session, attempt: 1, writer: 'agent' } as const;
const gateway = { session, attempt: 1, writer: 'gateway' } as const;
const thought = (clientKey: string): NewEntry => ({ clientKey, kind: 'reasoning', content: clientKey });
const output = (clientKey: string, bytes: number): NewEntry => ({
  clientKey,
  kind: 'tool_result',
  content: clientKey,
  blob: randomBytes(bytes / 2).toString('hex'),
});

let directory: string;
let mount: string;
let log: AuditStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-reserve-'));
  mount = path.join(directory, 'mount');
  await mkdir(mount);
  await run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', mount]);
  log = await openAuditLog({ path: path.join(mount, 'audit.db'), digestKey: Buffer.alloc(32, 7) });
  await log.append(gateway, openedEntry({ namespace: 'n', name: 'i', uid: session }, 's'));
});
afterEach(async () => {
  await log.close();
  await run('umount', ['-l', mount]);
  await rm(directory, { recursive: true, force: true });
});

/** Leaves this much space on the volume. */
async function leave(bytes: number): Promise<void> {
  await rm(path.join(mount, 'ballast'), { force: true });
  const { bavail, bsize } = await statfs(mount);
  await writeFile(path.join(mount, 'ballast'), Buffer.alloc(bavail * bsize - bytes));
}

const end = async () => {
  await log.append(gateway, { clientKey: 'claim:1', kind: 'lifecycle', content: 'the agent claims Fixed' });
  for (const kind of ['kube_outcome', 'docker_outcome', 'model_call'] as const) {
    await log.append(gateway, { clientKey: kind, kind, content: '200', blob: 'y'.repeat(MIB) });
  }
  await log.append(gateway, outcomeEntry('Escalated', 'the disk is full'));
  await log.seal(gateway, sealEntry('Escalated'));
};

describe('a volume that fills up', () => {
  it('refuses new work, and records claims, outcomes and the seal', async () => {
    await leave(reserveBytes(16 * MIB) + 600 * KIB);
    let refusal: unknown;
    for (let n = 0; refusal === undefined && n < 4000; n += 1) {
      await log.append(agent, output(`k${n}`, 40 * KIB)).catch((error: unknown) => {
        refusal = error;
      });
    }
    expect(refusal).toBeInstanceOf(AuditUnavailable);
    expect(refusal).toMatchObject({ message: expect.stringMatching(/volume is full.*reserved for claims/) });
    await eventually(() => log.failureDetails !== undefined);
    expect(log.failureDetails).toMatchObject({ isFull: true, acceptsClosing: true });
    await expect(log.append(agent, thought('more'))).rejects.toThrow(/volume is full/);
    await expect(log.append(gateway, { clientKey: 'intent', kind: 'kube_intent', content: 'patch' })).rejects.toThrow(
      /volume is full/,
    );
    await expect(log.reserve({ session, attempt: 1, clientKey: 'call', bound: 1 })).rejects.toThrow(/volume is full/);
    await end();
    const entries = await log.read(session);
    expect(verifyChain(session, entries)).toEqual([]);
    expect(entries.at(-1)?.params).toMatchObject({ event: 'sealed' });
    expect(log.failureDetails).toMatchObject({ isFull: true, acceptsClosing: true });
  });

  it('gives up large texts before it refuses small entries', async () => {
    await leave(reserveBytes(16 * MIB) + 900 * KIB);
    await log.append(agent, output('large', MIB));
    const entry = (await log.read(session)).at(-1);
    expect(readOriginal(entry?.params)?.blob).toMatchObject({ bytes: MIB, omitted: 'disk-full' });
    expect(log.failureDetails).toBeUndefined();
    await log.append(agent, thought('small'));
  });

  it('accepts new work by itself when there is space again', async () => {
    await leave(reserveBytes(16 * MIB) + 100 * KIB);
    await expect(log.append(agent, thought('refused'))).rejects.toThrow(/volume is full/);
    await rm(path.join(mount, 'ballast'));
    await eventually(() => log.failureDetails === undefined, { withinMs: 5000, everyMs: 50 });
    await log.append(agent, thought('refused'));
    expect((await log.read(session)).filter(({ clientKey }) => clientKey === 'refused')).toHaveLength(1);
  });

  it('is known when the log is opened', async () => {
    await leave(reserveBytes(16 * MIB) + 100 * KIB);
    await log.close();
    log = await openAuditLog({ path: path.join(mount, 'audit.db') });
    await eventually(() => log.failureDetails !== undefined);
    expect(log.failure).toMatch(/volume is full/);
    await end();
  });
});
