// `oplab audit verify` with signatures: through a real read API and offline with the public key alone.

import { copyFile, rm, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, it } from 'vitest';
import { CapturedOutput, commandLine, fakeEnvironment } from '../../test/support/fake-environment.ts';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { newSigner, useSignedLog } from '../../test/support/signed-log.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import { InvalidInput, VerificationFailed } from '../errors.ts';
import type { ClusterAnchor } from './published-anchor.ts';

const served = useSignedLog();
const { at, signer } = served;
const { vkey } = signer.verifier;

const captured = new CapturedOutput();
let anchor: ClusterAnchor;

const by = (session: string) => ({ session, attempt: 0, writer: 'gateway' }) as const;
const environment = fakeEnvironment({
  output: captured.output,
  anchor: async () => anchor,
  gateway: served.reader,
  incidents: () => ({
    get: () => Promise.reject(new Error('there is none')),
    list: async () => [],
    create: async (wanted) => wanted,
  }),
});
const oplab = commandLine(environment);

async function publish(): Promise<void> {
  anchor = { ...anchor, ...(await served.sign()), publicKey: vkey };
}

/** A copy of the file that somebody has changed. */
async function changed(...statements: string[]): Promise<string> {
  await served.whileClosed(() => copyFile(at('audit.db'), at('copy.db')));
  const db = new DatabaseSync(at('copy.db'), { enableForeignKeyConstraints: false });
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${String(name)}`);
  for (const statement of statements) db.exec(statement);
  for (const { sql } of triggers) db.exec(String(sql));
  db.close();
  return at('copy.db');
}

beforeEach(async () => {
  captured.clear();
  anchor = {
    source: 'ConfigMap oplab-system/oplab-audit-anchor',
    ...{ checkpoint: undefined, heads: undefined, publicKey: undefined },
  };
  for (const name of ['one', 'two']) {
    await served.log.append(by(name), openedEntry({ namespace: 'tikv', name, uid: name }, 'down'));
  }
  await served.log.seal(by('one'), sealEntry('Resolved'));
  await publish();
});

describe('audit verify through the gateway', () => {
  it('checks the signature with the key of the cluster, and says that it trusts it on first use', async () => {
    await oplab('audit', 'verify', '--all');
    expect(captured.stdout).toContain('signed by oplab.dev/audit: 3 openings and seals of sessions');
    expect(captured.stdout).toContain(
      'the key is from ConfigMap oplab-system/oplab-audit-anchor, which is trusted on first use',
    );
    expect(captured.stdout.match(/^ {4}signed by oplab\.dev\/audit$/gm)).toHaveLength(2);
  });

  it('checks it with a saved key, and says how far the signature goes', async () => {
    await served.log.append(by('two'), { clientKey: 'x', kind: 'reasoning', content: 'x' });
    await served.log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await oplab('audit', 'verify', '--all', '--public-key', vkey);
    expect(captured.stdout).toContain('the key is from --public-key\n');
    expect(captured.stdout).toContain('signed by oplab.dev/audit up to row 1; the rows after it are not signed yet');
    expect(captured.stdout).toContain('not signed yet: opened after the last checkpoint of oplab.dev/audit');
  });

  it('finds that log and cluster were signed by another key than the saved one', async () => {
    const other = newSigner('oplab.dev/audit').verifier.vkey;
    await expect(oplab('audit', 'verify', '--all', '--public-key', other)).rejects.toBeInstanceOf(VerificationFailed);
    expect(captured.stdout).toContain(
      'ConfigMap oplab-system/oplab-audit-anchor: the checkpoint is not valid: it is signed by',
    );
  });

  it('finds a log that was set back, which its own rows do not show', async () => {
    await served.log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    const published = anchor;
    await publish();
    const newer = anchor;
    await served.whileClosed(async () => {
      await rm(at('audit.db'));
    });
    await served.log.append(by('one'), openedEntry({ namespace: 'tikv', name: 'one', uid: 'one' }, 'down'));
    anchor = { ...published, ...{ checkpoint: undefined, heads: undefined, publicKey: undefined } };
    await oplab('audit', 'verify', '--all');
    anchor = newer;
    await expect(oplab('audit', 'verify', '--all')).rejects.toBeInstanceOf(VerificationFailed);
    expect(captured.stdout).toContain(
      'the log was set back or replaced: ConfigMap oplab-system/oplab-audit-anchor covers 4',
    );
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
    expect(captured.stderr).toContain('x may not be read');
    expect(JSON.parse(captured.stdout)).toMatchObject({
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
    await served.log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await served.log.append(by('a'), openedEntry({ namespace: 'tikv', name: 'a', uid: 'a' }, 'down'));
    await served.log.seal(by('three'), sealEntry('Resolved'));
    await served.log.seal(by('two'), sealEntry('Resolved'));
    await publish();
    await oplab('audit', 'backup', backup);
    captured.stdout = '';
    await writeFile(at('saved.txt'), anchor.checkpoint ?? '');
    await oplab('audit', 'verify', '--file', backup, '--public-key', vkey, '--checkpoint', at('saved.txt'));
    expect(captured.stdout).toContain('signed by oplab.dev/audit: 7 openings and seals of sessions');
    const copy = await openLogInThisThread({ path: backup });
    expect(await copy.leaves(0, 100)).toEqual(await served.log.leaves(0, 100));
    await copy.close();
  });

  it('does not continue the copy of another log', async () => {
    const other = await openLogInThisThread({ path: at('backup.db') });
    await other.append(by('else'), openedEntry({ namespace: 'tikv', name: 'else', uid: 'else' }, 'down'));
    await other.close();
    await expect(oplab('audit', 'backup', at('backup.db'))).rejects.toThrow(/is not a copy of the log of/);
  });
});

describe('audit verify offline', () => {
  it('needs the public key alone, as a word or in a file', async () => {
    const file = await changed();
    await oplab('audit', 'verify', '--file', file);
    expect(captured.stdout).toContain('signature not checked: no public key (--public-key)');
    expect(captured.stdout).toContain('against its own head only; not signed');
    captured.stdout = '';
    await writeFile(at('served.log.pub'), `${newSigner('older').verifier.vkey}\n${vkey}\n`);
    for (const key of [vkey, at('served.log.pub')]) await oplab('audit', 'verify', '--file', file, '--public-key', key);
    expect(captured.stdout.match(/^ {4}signed by oplab\.dev\/audit$/gm)).toHaveLength(4);
    expect(captured.stdout).not.toContain('against its own head only');
  });

  it('finds a session that vanished with all its traces, which passes without the key', async () => {
    const file = await changed(
      ...['entries', 'seals', 'log_leaves'].map((table) => `DELETE FROM ${table} WHERE session = 'one'`),
      'UPDATE log_leaves SET position = 0',
    );
    await oplab('audit', 'verify', '--file', file);
    const verified = oplab('audit', 'verify', '--file', file, '--public-key', vkey);
    await expect(verified).rejects.toBeInstanceOf(VerificationFailed);
    expect(captured.stdout).toContain('covers 3 leaves, but the log has 1');
  });

  it('compares the file with a checkpoint that was saved', async () => {
    const old = await changed();
    await served.log.append(by('three'), openedEntry({ namespace: 'tikv', name: 'three', uid: 'three' }, 'down'));
    await publish();
    await writeFile(at('saved.txt'), anchor.checkpoint ?? '');
    const args = ['audit', 'verify', '--file', old, '--public-key', vkey];
    await oplab(...args);
    const verified = oplab(...args, '--checkpoint', at('saved.txt'));
    await expect(verified).rejects.toBeInstanceOf(VerificationFailed);
    expect(captured.stdout).toContain('saved.txt covers 4 leaves, but the log has 3');
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
