// `oplab audit verify` with signatures: through a real read API and offline with the public key alone.

import { generateKeyPairSync } from 'node:crypto';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commandLine, fakeEnvironment, outputTo } from '../../test/support/fake-environment.ts';
import { signLog } from '../audit/checkpoint.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import { parseSigner } from '../audit/signed-note.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { InvalidInput, VerificationFailed } from '../errors.ts';
import { LiveOutput } from '../gateway/live-output.ts';
import { createReadApi } from '../gateway/read-api/server.ts';
import { createLogger } from '../observability/logger.ts';
import type { ClusterAnchor } from './published-anchor.ts';
import { openGatewayReader } from './reader/gateway-reader.ts';

const newKey = (name: string) =>
  parseSigner(
    name,
    generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'test',
  );
const signer = newKey('oplab.dev/audit');
const { vkey } = signer.verifier;

let directory: string;
let log: AuditStore;
let server: Server;
let port: number;
let stdout: string;
let stderr: string;
let anchor: ClusterAnchor;

const at = (name: string) => path.join(directory, name);
const by = (session: string) => ({ session, attempt: 0, writer: 'gateway' }) as const;
const environment = fakeEnvironment({
  output: outputTo(
    (text) => {
      stdout += text;
    },
    (text) => {
      stderr += text;
    },
  ),
  anchor: async () => anchor,
  gateway: () =>
    openGatewayReader({
      connect: async () => ({ url: `http://127.0.0.1:${port}`, close: async () => undefined }),
      retryMs: 10,
    }),
  incidents: () => ({
    get: () => Promise.reject(new Error('there is none')),
    list: async () => [],
    create: async (wanted) => wanted,
  }),
});
const oplab = commandLine(environment);

async function publish(): Promise<void> {
  const tree = await log.tree(0);
  const notes = signLog(signer, tree, tree.heads);
  await log.saveSignedNotes('signed', notes);
  anchor = { ...anchor, ...notes, publicKey: vkey };
}

/** A copy of the file that somebody has changed. */
async function changed(...statements: string[]): Promise<string> {
  await log.close();
  await copyFile(at('audit.db'), at('copy.db'));
  log = await openAuditLog({ path: at('audit.db') });
  const db = new DatabaseSync(at('copy.db'), { enableForeignKeyConstraints: false });
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${String(name)}`);
  for (const statement of statements) db.exec(statement);
  for (const { sql } of triggers) db.exec(String(sql));
  db.close();
  return at('copy.db');
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-signature-'));
  log = await openAuditLog({ path: at('audit.db') });
  const proxy: AuditStore = new Proxy(log, { get: (_, key) => bound(Reflect.get(log, key)) });
  server = createReadApi({
    log: proxy,
    publicKey: vkey,
    live: new LiveOutput((text) => text),
    logger: createLogger('test'),
    signal: new AbortController().signal,
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
  stdout = '';
  stderr = '';
  anchor = {
    source: 'ConfigMap oplab-system/oplab-audit-anchor',
    ...{ checkpoint: undefined, heads: undefined, publicKey: undefined },
  };
  for (const name of ['one', 'two']) {
    await log.append(by(name), openedEntry({ namespace: 'tikv', name, uid: name }, 'down'));
  }
  await log.seal(by('one'), sealEntry('Resolved'));
  await publish();
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

/** The log may have been opened again since the server started. */
function bound(value: unknown): unknown {
  return typeof value === 'function' ? value.bind(log) : value;
}

describe('audit verify through the gateway', () => {
  it('checks the signature with the key of the cluster, and says that it trusts it on first use', async () => {
    await oplab('audit', 'verify', '--all');
    expect(stdout).toContain('signed by oplab.dev/audit: 3 openings and seals of sessions');
    expect(stdout).toContain(
      'the key is from ConfigMap oplab-system/oplab-audit-anchor, which is trusted on first use',
    );
    expect(stdout.match(/^ {4}signed by oplab\.dev\/audit$/gm)).toHaveLength(2);
  });

  it('checks it with a saved key, and says how far the signature goes', async () => {
    await log.append(by('two'), { clientKey: 'x', kind: 'reasoning', content: 'x' });
    await log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await oplab('audit', 'verify', '--all', '--public-key', vkey);
    expect(stdout).toContain('the key is from --public-key\n');
    expect(stdout).toContain('signed by oplab.dev/audit up to row 1; the rows after it are not signed yet');
    expect(stdout).toContain('not signed yet: opened after the last checkpoint of oplab.dev/audit');
  });

  it('finds that log and cluster were signed by another key than the saved one', async () => {
    const other = newKey('oplab.dev/audit').verifier.vkey;
    await expect(oplab('audit', 'verify', '--all', '--public-key', other)).rejects.toBeInstanceOf(VerificationFailed);
    expect(stdout).toContain('ConfigMap oplab-system/oplab-audit-anchor: the checkpoint is not valid: it is signed by');
  });

  it('finds a log that was set back, which its own rows do not show', async () => {
    await log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    const published = anchor;
    await publish();
    const newer = anchor;
    await log.close();
    await rm(at('audit.db'));
    log = await openAuditLog({ path: at('audit.db') });
    await log.append(by('one'), openedEntry({ namespace: 'tikv', name: 'one', uid: 'one' }, 'down'));
    anchor = { ...published, ...{ checkpoint: undefined, heads: undefined, publicKey: undefined } };
    await oplab('audit', 'verify', '--all');
    anchor = newer;
    await expect(oplab('audit', 'verify', '--all')).rejects.toBeInstanceOf(VerificationFailed);
    expect(stdout).toContain('the log was set back or replaced: ConfigMap oplab-system/oplab-audit-anchor covers 4');
  });

  it('says why the cluster has no key, and prints the verdict as JSON', async () => {
    anchor = {
      source: 'x',
      checkpoint: undefined,
      heads: undefined,
      publicKey: undefined,
      problem: 'x may not be read',
    };
    await oplab('audit', 'verify', '--all', '-o', 'json');
    expect(stderr).toContain('x may not be read');
    expect(JSON.parse(stdout)).toMatchObject({
      valid: true,
      signature: { keySource: 'the gateway', onFirstUse: true, checkpoint: { size: 3, vkey } },
      sessions: [{ signed: { by: 'oplab.dev/audit' } }, {}],
    });
  });
});

describe('audit backup', () => {
  it('copies the tree and what was signed, also if sessions are opened and sealed between two backups', async () => {
    const backup = at('backup.db');
    await oplab('audit', 'backup', backup);
    await log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await log.append(by('a'), openedEntry({ namespace: 'tikv', name: 'a', uid: 'a' }, 'down'));
    await log.seal(by('three'), sealEntry('Resolved'));
    await log.seal(by('two'), sealEntry('Resolved'));
    await publish();
    await oplab('audit', 'backup', backup);
    stdout = '';
    await writeFile(at('saved.txt'), anchor.checkpoint ?? '');
    await oplab('audit', 'verify', '--file', backup, '--public-key', vkey, '--checkpoint', at('saved.txt'));
    expect(stdout).toContain('signed by oplab.dev/audit: 7 openings and seals of sessions');
    const copy = await openAuditLog({ path: backup });
    expect(await copy.leaves(0, 100)).toEqual(await log.leaves(0, 100));
    await copy.close();
  });

  it('does not continue the copy of another log', async () => {
    const other = await openAuditLog({ path: at('backup.db') });
    await other.append(by('else'), openedEntry({ namespace: 'tikv', name: 'else', uid: 'else' }, 'down'));
    await other.close();
    await expect(oplab('audit', 'backup', at('backup.db'))).rejects.toThrow(/is not a copy of the log of/);
  });
});

describe('audit verify offline', () => {
  it('needs the public key alone, as a word or in a file', async () => {
    const file = await changed();
    await oplab('audit', 'verify', '--file', file);
    expect(stdout).toContain('signature not checked: no public key (--public-key)');
    expect(stdout).toContain('against its own head only; not signed');
    stdout = '';
    await writeFile(at('log.pub'), `${newKey('older').verifier.vkey}\n${vkey}\n`);
    for (const key of [vkey, at('log.pub')]) await oplab('audit', 'verify', '--file', file, '--public-key', key);
    expect(stdout.match(/^ {4}signed by oplab\.dev\/audit$/gm)).toHaveLength(4);
    expect(stdout).not.toContain('against its own head only');
  });

  it('finds a session that vanished with all its traces, which passes without the key', async () => {
    const file = await changed(
      ...['entries', 'seals', 'log_leaves'].map((table) => `DELETE FROM ${table} WHERE session = 'one'`),
      'UPDATE log_leaves SET position = 0',
    );
    await oplab('audit', 'verify', '--file', file);
    const verified = oplab('audit', 'verify', '--file', file, '--public-key', vkey);
    await expect(verified).rejects.toBeInstanceOf(VerificationFailed);
    expect(stdout).toContain('covers 3 leaves, but the log has 1');
  });

  it('compares the file with a checkpoint that was saved', async () => {
    const old = await changed();
    await log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await publish();
    await writeFile(at('saved.txt'), anchor.checkpoint ?? '');
    const args = ['audit', 'verify', '--file', old, '--public-key', vkey];
    await oplab(...args);
    const verified = oplab(...args, '--checkpoint', at('saved.txt'));
    await expect(verified).rejects.toBeInstanceOf(VerificationFailed);
    expect(stdout).toContain('saved.txt covers 4 leaves, but the log has 3');
  });

  it.each([
    ['a key that is none', ['--public-key', 'nonsense'], /--public-key: "nonsense" is neither a file nor a public key/],
    ['a checkpoint without a key', ['--checkpoint', 'x'], /--checkpoint needs --public-key/],
    [
      'a checkpoint that does not exist',
      ['--public-key', vkey, '--checkpoint', '/nowhere'],
      /--checkpoint: \/nowhere does not exist/,
    ],
  ])('refuses %s', async (_what, args, message) => {
    const refused = oplab('audit', 'verify', '--file', await changed(), ...args);
    await expect(refused).rejects.toMatchObject({ constructor: InvalidInput, message: expect.stringMatching(message) });
  });
});
