// The gateway compares its log with what was signed and published about it. Each attack is found, and
// each would pass unnoticed without the comparison.

import { generateKeyPairSync } from 'node:crypto';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { openSignedNotes } from '../audit/checkpoint.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import { parseSigner } from '../audit/signed-note.ts';
import type { AuditStore } from '../audit/store.ts';
import { isSound, verifyFile } from '../audit/verify.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { KubeError } from '../kube/errors.ts';
import { createLogger } from '../observability/logger.ts';
import { LogSigner } from './log-signer.ts';
import { AnchorConfigMap } from './published-anchor.ts';

const pem = () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const signer = parseSigner('oplab.dev/audit', pem(), 'test');

let directory: string;
let log: AuditStore;
let cluster: ReturnType<typeof fakeConfigMap>;
let stopping: AbortController;
let lines: string[];

const file = () => path.join(directory, 'audit.db');
const by = (session: string) => ({ session, attempt: 1, writer: 'gateway' }) as const;
const open = (session: string) =>
  log.append(by(session), openedEntry({ namespace: 'tikv', name: session, uid: session }, 'down'));
const say = (session: string, key: string) =>
  log.append({ ...by(session), writer: 'agent' }, { clientKey: key, kind: 'reasoning', content: key });
const seal = (session: string) => log.seal(by(session), sealEntry('Resolved'));

/** One ConfigMap with the API server's rules for versions. */
function fakeConfigMap(initial: Record<string, string> | undefined) {
  let data = initial;
  let version = 1;
  let failing: KubeError | undefined;
  const object = (): KubeObject => {
    if (data === undefined) throw new KubeError(404, 'NotFound', 'not found');
    return { metadata: { name: 'oplab-audit-anchor', resourceVersion: String(version) }, data };
  };
  const client: Pick<KubeClient, 'get' | 'patch'> = {
    get: async () => {
      if (failing !== undefined) throw failing;
      return object();
    },
    patch: async (_resource, _ref, patch) => {
      if (failing !== undefined) throw failing;
      const { metadata, data: changes } = Object(patch);
      if (metadata.resourceVersion !== object().metadata.resourceVersion)
        throw new KubeError(409, 'Conflict', 'conflict');
      const merged: [string, unknown][] = Object.entries({ ...data, ...changes });
      data = Object.fromEntries(
        merged.filter(([, value]) => value !== null).map(([key, value]) => [key, String(value)]),
      );
      version += 1;
      return object();
    },
  };
  return {
    client,
    read: () => data,
    write(next: Record<string, string> | undefined) {
      data = next;
      version += 1;
    },
    fail(error: KubeError | undefined) {
      failing = error;
    },
  };
}

/** A process of the gateway, as far as its log is concerned. */
async function start(options: { key?: typeof signer; previous?: (typeof signer)[] } = {}) {
  stopping = new AbortController();
  const { key = signer, previous = [] } = options;
  const found: string[] = [];
  const made = new LogSigner({
    log,
    configMap: new AnchorConfigMap(cluster.client, 'oplab-system'),
    keys: { signer: key, verifiers: [key, ...previous].map(({ verifier }) => verifier) },
    logger: createLogger('gateway', { stream: { write: (line) => void lines.push(line) } }),
    isBroken: () => false,
    onBroken: (message) => void found.push(message),
    onSessionBroken: (session) => void found.push(session),
    signal: stopping.signal,
  });
  await made.start();
  return { signer: made, found };
}

/** Publishes everything and stops. */
async function run(options: Parameters<typeof start>[0] = {}): Promise<void> {
  const { signer: running } = await start(options);
  await running.flush();
  expect(running.broken).toBeUndefined();
  stopping.abort();
}

const keep = async (name: string) => {
  await log.close();
  await copyFile(file(), path.join(directory, name));
  log = await openLogInThisThread({ path: file() });
};
const putBack = async (name: string) => {
  await log.close();
  await rm(`${file()}-wal`, { force: true });
  await copyFile(path.join(directory, name), file());
  log = await openLogInThisThread({ path: file() });
};
const tamper = async (...statements: string[]) => {
  await log.close();
  const db = new DatabaseSync(file(), { enableForeignKeyConstraints: false });
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${String(name)}`);
  for (const statement of statements) db.exec(statement);
  for (const { sql } of triggers) db.exec(String(sql));
  db.close();
  log = await openLogInThisThread({ path: file() });
};

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-signer-'));
  log = await openLogInThisThread({ path: file() });
  cluster = fakeConfigMap({});
  lines = [];
  // Two sessions before the attack, and a copy of the file from before the second.
  await open('one');
  await say('one', 'a');
  await run();
  await keep('early.db');
  await say('one', 'b');
  await seal('one');
  await open('two');
  await say('two', 'a');
  await run();
});
afterEach(async () => {
  stopping.abort();
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

describe('what is published', () => {
  it('is the tree, the running heads and the public key', async () => {
    const data = cluster.read() ?? {};
    const opened = openSignedNotes({ checkpoint: data.checkpoint ?? '', heads: data.heads ?? '' }, [signer.verifier]);
    expect(opened).toMatchObject({ origin: 'oplab.dev/audit', size: 3, heads: [{ session: 'two', entries: 2 }] });
    expect(data['public-key']).toBe(`${signer.verifier.vkey}\n`);
    const keys = { verifiers: [signer.verifier], source: 'test', onFirstUse: false };
    await log.close();
    expect(isSound(verifyFile(file(), { keys }))).toBe(true);
    log = await openLogInThisThread({ path: file() });
  });

  it('grows with the log, also after restarts', async () => {
    await seal('two');
    await run();
    expect(cluster.read()?.checkpoint).toMatch(/^oplab\.dev\/audit\n4\n/);
    expect(cluster.read()?.heads).toMatch(/^oplab\.dev\/audit\nheads 4 \S+\n\n/);
  });

  it('comes by itself, soon after an opening', async () => {
    const { signer: running } = await start();
    running.appended(Object.assign({}, (await log.read('two'))[0]));
    await open('three');
    await expect.poll(() => cluster.read()?.checkpoint, { timeout: 10_000 }).toMatch(/\n4\n/);
  });

  it('waits for an API server that fails, and stops nothing', async () => {
    const { signer: running, found } = await start();
    cluster.fail(new KubeError(0, 'Timeout', 'the API server does not answer'));
    await open('three');
    await running.flush();
    expect(running.broken).toBeUndefined();
    expect(found).toEqual([]);
    expect(lines.join('\n')).toContain('cannot be published');
    cluster.fail(undefined);
    await running.flush();
    expect(cluster.read()?.checkpoint).toMatch(/\n4\n/);
  });

  it('is read before anything else, however long it takes', async () => {
    stopping.abort();
    cluster.fail(new KubeError(0, 'Timeout', 'the API server does not answer'));
    const starting = start();
    await expect.poll(() => lines.join('\n'), { timeout: 5000 }).toContain('cannot be compared; retrying');
    cluster.fail(undefined);
    expect((await starting).found).toEqual([]);
  });

  it('survives a label on the ConfigMap, and a write whose answer was lost', async () => {
    const { signer: running } = await start();
    cluster.write(cluster.read());
    await open('three');
    await running.flush();
    await running.flush();
    expect(running.broken).toBeUndefined();
    expect(cluster.read()?.checkpoint).toMatch(/\n4\n/);
  });

  it('continues with a new key if the old one is named, and under a new name', async () => {
    const next = parseSigner('oplab.dev/audit-2', pem(), 'test');
    await run({ key: next, previous: [signer] });
    expect(cluster.read()?.checkpoint).toMatch(/^oplab\.dev\/audit-2\n3\n/);
    const { signer: old } = await start();
    expect(old.broken).toContain('which is not a known key');
  });
});

describe('the gateway stops the whole log if', () => {
  const broken = async () => {
    const before = cluster.read();
    const { signer: running, found } = await start();
    await running.flush();
    expect(found).toEqual([running.broken]);
    // Nothing is overwritten.
    expect(cluster.read()).toEqual(before);
    return running.broken ?? '';
  };

  it('the file was set back', async () => {
    await putBack('early.db');
    expect(await broken()).toMatch(/set back or replaced: .* covers 3 openings .* but the log has 1/);
  });

  it('the file is new', async () => {
    await log.close();
    await rm(file());
    log = await openLogInThisThread({ path: file() });
    expect(await broken()).toMatch(/but the log has 0/);
  });

  it('the file was set back and written anew', async () => {
    await putBack('early.db');
    await seal('one');
    await open('other');
    expect(await broken()).toMatch(/the audit log was changed: its first 3 openings/);
  });

  it('a leaf was changed', async () => {
    await tamper("UPDATE log_leaves SET session = 'x' WHERE position = 0");
    expect(await broken()).toMatch(/the audit log was changed/);
  });

  it('a session was removed with its leaves', async () => {
    await tamper("DELETE FROM log_leaves WHERE session = 'two'", "DELETE FROM entries WHERE session = 'two'");
    expect(await broken()).toMatch(/covers 3 openings .* but the log has 2/);
  });

  it.each(['checkpoint', 'heads', 'public-key'])('the ConfigMap has another %s', async (key) => {
    const data = cluster.read() ?? {};
    cluster.write({ ...data, [key]: (data[key] ?? '').replace(/[0-9]/, (digit) => String((Number(digit) + 1) % 10)) });
    expect(await broken()).toMatch(/was changed by somebody else than the gateway/);
  });

  it('the ConfigMap was signed with another key of the same name', async () => {
    cluster.write({});
    const forger = parseSigner('oplab.dev/audit', pem(), 'test');
    const other = await openLogInThisThread({ path: path.join(directory, 'other.db') });
    const ours = log;
    log = other;
    await run({ key: forger });
    log = ours;
    await other.close();
    expect(await broken()).toMatch(/which is not a known key/);
  });

  it.each([
    ['was emptied', {}, /the signed checkpoint was removed from ConfigMap/],
    ['was deleted', undefined, /ConfigMap oplab-system\/oplab-audit-anchor was deleted/],
  ])('the ConfigMap %s', async (_how, data, message) => {
    cluster.write(data);
    expect(await broken()).toMatch(message);
  });

  it('an older ConfigMap was put back', async () => {
    const old = cluster.read();
    await say('two', 'b');
    await run();
    cluster.write(old);
    expect(await broken()).toMatch(
      /was set back: it held a newer signed checkpoint before, with 3 entries of session two/,
    );
  });

  it.each([
    ['changed', { checkpoint: 'x', heads: 'x' }],
    ['deleted', undefined],
  ])('the ConfigMap is %s while it runs', async (how, data) => {
    const { signer: running, found } = await start();
    await running.flush();
    cluster.write(data);
    await open('three');
    await running.flush();
    expect(running.broken).toMatch(new RegExp(`was ${how}`));
    expect(found).toEqual([running.broken]);
    expect(cluster.read()).toEqual(data);
  });
});

describe('an administrator', () => {
  const command = (message: string | undefined) =>
    /accept(?:"|')?[=:]"?'?(?<state>\d+ [^"']+)/.exec(message ?? '')?.groups?.state ?? '';

  it('may accept the log after the ConfigMap was lost, with the command of the message', async () => {
    cluster.write({});
    const { signer: stopped } = await start();
    const state = command(stopped.broken);
    expect(state).toMatch(/^3 \S{44}$/);
    stopping.abort();
    cluster.write({ accept: '2 wrong' });
    expect((await start()).signer.broken).toContain('was removed from');
    stopping.abort();
    cluster.write({ accept: state });
    await run();
    expect(cluster.read()).toEqual({
      checkpoint: expect.stringContaining('oplab.dev/audit\n3\n'),
      heads: expect.anything(),
      'public-key': expect.anything(),
    });
  });

  it('may accept another history only under another name', async () => {
    await putBack('early.db');
    const { signer: stopped } = await start();
    stopping.abort();
    cluster.write({ ...cluster.read(), accept: command(stopped.broken) });
    expect((await start()).signer.broken).toContain('set another audit.signing.name');
    stopping.abort();
    await run({ key: parseSigner('oplab.dev/audit-2', pem(), 'test'), previous: [signer] });
    expect(cluster.read()?.checkpoint).toMatch(/^oplab\.dev\/audit-2\n1\n/);
  });
});

describe('the gateway stops one session if', () => {
  it('its end was cut, also if its Incident is deleted, and keeps what was signed about it', async () => {
    await tamper("DELETE FROM entries WHERE session = 'two' AND seq = 2");
    await open('three');
    const { signer: running, found } = await start();
    expect(running.broken).toBeUndefined();
    expect(found).toEqual(['two']);
    expect(running.reason('two')).toMatch(/the signed list of heads in ConfigMap .* covers 2 entries/);
    expect(running.reason('three')).toBeUndefined();
    await running.flush();
    const [two] = (cluster.read()?.heads ?? '').split('\n').filter((line) => line.includes('"two"'));
    expect(two).toContain('"entries":2');
  });

  it('the entries of a sealed one are gone', async () => {
    await tamper("DELETE FROM entries WHERE session = 'one'");
    const { signer: running } = await start();
    expect(running.reason('one')).toMatch(/opened or sealed are missing/);
    expect(running.brokenSessions).toEqual(['one']);
  });

  it('its seal was removed, so that it could be continued', async () => {
    await tamper("DELETE FROM seals WHERE session = 'one'");
    expect((await start()).signer.brokenSessions).toEqual(['one']);
  });
});
