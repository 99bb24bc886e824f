// Exports with a proof: what the gateway signed about the log shows, without a cluster, whether the
// session in a file is the one in the served.log.

import { readFile, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, it } from 'vitest';
import { CapturedOutput, commandLine, fakeEnvironment } from '../../test/support/fake-environment.ts';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { newSigner, useSignedLog } from '../../test/support/signed-log.ts';
import { signLog } from '../audit/checkpoint.ts';
import type { Entry } from '../audit/entry.ts';
import { parseExport, type SessionExport } from '../audit/export.ts';
import { canonicalJson, entryHash, sha256 } from '../audit/hash-chain.ts';
import { openedEntry, outcomeEntry, sealEntry } from '../audit/lifecycle.ts';
import { InvalidInput, NotFound, VerificationFailed } from '../errors.ts';

const served = useSignedLog();
const { signer, at } = served;
const KEY = ['--public-key', signer.verifier.vkey] as const;

const captured = new CapturedOutput();

const by = (session: string) => ({ session, attempt: 0, writer: 'gateway' }) as const;
const environment = fakeEnvironment({
  now: () => now,
  output: captured.output,
  gateway: served.reader,
  incidents: () => ({
    get: () => Promise.reject(new NotFound('there is none')),
    list: async () => [],
    create: async (wanted) => wanted,
  }),
});
let now: Date;
const oplab = commandLine(environment);

const sign = async () => (await served.sign()).checkpoint;

beforeEach(async () => {
  captured.clear();
  now = new Date('2026-01-01T00:10:00Z');
  for (const name of ['one', 'two', 'three']) {
    await served.log.append(by(name), openedEntry({ namespace: 'tikv', name, uid: name }, `${name} is down`));
    await served.log.append(by(name), { clientKey: 'x', kind: 'lifecycle', content: 'a check failed' });
  }
  for (const name of ['one', 'two']) {
    await served.log.append(by(name), outcomeEntry('Escalated', ''));
    await served.log.seal(by(name), sealEntry('Escalated'));
  }
  await sign();
});

/** An export through the gateway. */
async function exported(name: string): Promise<SessionExport> {
  await oplab('session', 'export', `tikv/${name}`, '--to', at(`${name}.json`), '--force');
  captured.stdout = '';
  return parseExport(await readFile(at(`${name}.json`), 'utf8'), name);
}

/** Writes a changed export with a chain, a head and a digest that fit, and verifies it. */
async function verify(content: SessionExport, ...args: string[]): Promise<void> {
  const entries: Entry[] = [];
  for (const { hash: _, ...entry } of content.entries) {
    const linked = { ...entry, prevHash: entries.at(-1)?.hash ?? entry.prevHash };
    entries.push({ ...linked, hash: entryHash(linked) });
  }
  const { digest: _, ...rest } = content;
  const last = entries.at(-1);
  const session = { ...rest.session, entries: entries.length, headHash: last?.hash ?? '', lastAt: last?.time ?? '' };
  const file = JSON.parse(JSON.stringify({ ...rest, session, entries }));
  await writeFile(at('given.json'), JSON.stringify({ ...file, digest: sha256(canonicalJson(file)) }));
  await oplab('audit', 'verify', '--file', at('given.json'), ...args);
}

/** The same session with another story in it: every hash fits, and the end says Resolved. */
function retold(content: SessionExport): SessionExport {
  const entries = content.entries.map((entry) => {
    if (entry.content === 'a check failed') return { ...entry, content: 'all checks held' };
    const text = JSON.stringify(entry.params).replace('Escalated', 'Resolved');
    return { ...entry, params: JSON.parse(text), content: entry.content.replace('Escalated', 'Resolved') };
  });
  return { ...content, entries, session: { ...content.session, outcome: content.session.outcome && 'Resolved' } };
}

const cut = (content: SessionExport, entries: number): SessionExport => ({
  ...content,
  entries: content.entries.slice(0, entries),
  session: { ...content.session, sealed: false, outcome: null },
});

/** That a forgery is consistent in itself, and is found with the key, for the reason given. */
async function expectFound(forged: SessionExport, reason: RegExp): Promise<void> {
  captured.stdout = '';
  await verify(forged);
  expect(captured.stdout).toContain('✓');
  expect(captured.stdout).toContain('against its own head only; not signed: whoever wrote it could have made it up');
  captured.stdout = '';
  await expect(verify(forged, ...KEY)).rejects.toBeInstanceOf(VerificationFailed);
  expect(captured.stdout).toMatch(reason);
  expect(captured.stdout).not.toContain('    signed by');
}

describe('an export of a signed log', () => {
  it('is verified with the public key alone, sealed or not, through the gateway or from the file', async () => {
    const sealed = await exported('one');
    await verify(sealed, ...KEY);
    expect(captured.stdout).toContain(
      'signed by oplab.dev/audit: 5 openings and seals of sessions; the key is from --public-key',
    );
    expect(captured.stdout).toContain('    signed by oplab.dev/audit\n');
    // Nothing about other sessions is in it.
    expect(JSON.stringify(sealed.proof)).not.toContain('three');
    captured.stdout = '';
    await served.log.append(by('three'), { clientKey: 'y', kind: 'lifecycle', content: 'more' });
    await verify(await exported('three'), ...KEY);
    expect(captured.stdout).toContain('signed by oplab.dev/audit up to row 2; the rows after it are not signed yet');
    await served.whileClosed(async () => {
      captured.stdout = '';
      await oplab('session', 'export', 'two', '--file', at('audit.db'), '--to', at('two.json'));
      await oplab('audit', 'verify', '--file', at('two.json'), ...KEY, '-o', 'json');
      expect(JSON.parse(captured.stdout.slice(captured.stdout.indexOf('\n{')))).toMatchObject({
        valid: true,
        signature: { keySource: '--public-key', onFirstUse: false, checkpoint: { size: 5, origin: 'oplab.dev/audit' } },
        sessions: [{ signed: { by: 'oplab.dev/audit', entries: 4 } }],
      });
    });
  });

  it('says without the key that nothing but its own consistency was checked', async () => {
    await verify(await exported('one'));
    expect(captured.stdout).toContain('signature not checked: no public key (--public-key)');
    expect(captured.stdout).toContain('against its own head only; not signed: whoever wrote it could have made it up');
  });

  it('of an earlier version is verified as before, and not with a key', async () => {
    const { proof: _, ...old } = await exported('one');
    await verify(old);
    expect(captured.stdout).not.toContain('signature not checked');
    expect(captured.stdout).toContain('against its own head only; not signed: whoever wrote it could have made it up');
    await expectFound(old, /nothing proves that a signed log holds this session/);
  });

  it.each(['one', 'three'])('shows another story told in session %s', async (name) => {
    await expectFound(retold(await exported(name)), /row \d is not the one with which|wrong head: row 2/);
  });

  it('shows a first entry that was not the first', async () => {
    const three = await exported('three');
    const [first, ...rest] = three.entries;
    if (first === undefined) throw new Error('no entries');
    await expectFound(
      { ...three, entries: [{ ...first, attempt: 1 }, ...rest] },
      /row 1 is not the one with which the signed log opened a session/,
    );
  });

  it('shows an end that was cut off, also with the proof of the seal removed', async () => {
    const one = await exported('one');
    const open = await exported('three');
    const heads = open.proof?.heads ?? null;
    await expectFound(cut(one, 2), /the end is cut off/);
    const proof = one.proof && { ...one.proof, sealed: null };
    await expectFound({ ...cut(one, 2), proof }, /the end is cut off/);
    // With the signed list of heads of the same checkpoint, in which a sealed session is not.
    await expectFound({ ...cut(one, 2), proof: proof && { ...proof, heads } }, /the end is cut off/);
    await expectFound(cut(open, 1), /the end is cut off: row 2 is missing/);
  });

  it('shows a seal that the log never had', async () => {
    const three = await exported('three');
    const seal = (await exported('one')).entries.at(-1);
    if (seal === undefined) throw new Error('no seal');
    const forged = {
      ...three,
      entries: [...three.entries, { ...seal, session: 'three', seq: 3 }],
      session: { ...three.session, sealed: true, outcome: 'Escalated' },
    };
    await expectFound(forged, /its seal is not signed/);
  });

  it('shows the proof of another session, of another log, and one that was put together', async () => {
    const [one, two] = [await exported('one'), await exported('two')];
    await expectFound({ ...one, proof: two.proof }, /row 1 is not the one .*[\s\S]*row 4 is not the one/);
    if (one.proof === undefined || two.proof === undefined) throw new Error('no proof');
    await expectFound({ ...one, proof: { ...one.proof, sealed: two.proof.sealed } }, /row 4 is not the one/);
    const stranger = newSigner();
    const tree = await served.log.tree(0);
    const foreign = signLog(stranger, tree, tree.heads);
    await expectFound(
      { ...one, proof: { ...one.proof, checkpoint: foreign.checkpoint } },
      /is signed by .* not a known/,
    );
    const three = await exported('three');
    if (three.proof === undefined) throw new Error('no proof');
    const mixed = { ...three.proof, heads: foreign.heads };
    await expectFound({ ...three, proof: mixed }, /the list of heads is not valid/);
    await expectFound({ ...three, proof: { ...three.proof, opened: null } }, /does not cover its opening/);
  });

  it('shows a claim about the session that its entries do not make', async () => {
    const one = await exported('one');
    for (const lie of [{ outcome: 'Resolved' }, { summary: 'all is well' }, { openedAt: '2020-01-01T00:00:00.000Z' }]) {
      captured.stdout = '';
      await expect(verify({ ...one, session: { ...one.session, ...lie } }, ...KEY)).rejects.toMatchObject({
        exitCode: 4,
      });
      expect(captured.stdout).toMatch(/the file says (outcome|summary|openedAt) .*, but its entries say/);
    }
  });

  it('is compared with a checkpoint that was saved', async () => {
    const one = await exported('one');
    await writeFile(at('saved.txt'), await sign());
    const args = [...KEY, '--checkpoint', at('saved.txt')];
    await verify(one, ...args);
    // The gateway's own key, but another history: it has signed twice.
    await writeFile(at('saved.txt'), signLog(signer, { size: 5, root: sha256root('x') }, []).checkpoint);
    await expect(verify(one, ...args)).rejects.toMatchObject({ exitCode: 4 });
    expect(captured.stdout).toContain('the log was signed twice in different ways');
    await writeFile(at('saved.txt'), signLog(newSigner(), { size: 5, root: sha256root('x') }, []).checkpoint);
    await expect(verify(one, ...args)).rejects.toMatchObject({ exitCode: 4 });
    await writeFile(at('saved.txt'), signLog(signer, { size: 4, root: sha256root('x') }, []).checkpoint);
    await expect(verify(one, ...args)).rejects.toBeInstanceOf(InvalidInput);
  });

  it('of a running session cannot call itself sealed', async () => {
    const three = await exported('three');
    const session = { ...three.session, sealed: true };
    await expect(verify({ ...three, session }, ...KEY)).rejects.toMatchObject({ exitCode: 4 });
    expect(captured.stdout).toContain('it is said to be sealed, but row 2 is not a seal');
  });

  it('tells that a proof is not there yet, or that the log is not signed', async () => {
    await served.log.seal(by('three'), sealEntry('Resolved'));
    await exported('three');
    expect(captured.stderr).toContain('export it again in a few seconds');
    await sign();
    captured.stderr = '';
    await verify(await exported('three'), ...KEY);
    expect(captured.stderr).toBe('');
  });
});

describe('an imported session', () => {
  const files = async (...names: string[]) => {
    for (const name of names) await exported(name);
    return names.map((name) => at(`${name}.json`));
  };

  it('keeps its proof: it is signed by the log that it came from, also when it is exported again', async () => {
    await oplab('session', 'import', ...(await files('one', 'three')), '--into', at('cases.db'));
    captured.stdout = '';
    await oplab('audit', 'verify', '--file', at('cases.db'), ...KEY);
    expect(captured.stdout.match(/^ {4}signed by oplab\.dev\/audit, from whose log it was imported$/gm)).toHaveLength(
      2,
    );
    await oplab('session', 'export', 'one', '--file', at('cases.db'), '--to', at('again.json'));
    await oplab('audit', 'verify', '--file', at('again.json'), ...KEY);
    captured.stdout = '';
    await oplab('audit', 'verify', '--file', at('cases.db'));
    expect(captured.stdout).toContain('against its own head only; not signed');
    expect(captured.stdout).not.toContain('signed by');
  });

  it('from an export without a proof is signed by nobody', async () => {
    const { proof: _, ...old } = await exported('one');
    await verify(old);
    await oplab('session', 'import', at('given.json'), '--into', at('cases.db'));
    captured.stdout = '';
    await expect(oplab('audit', 'verify', '--file', at('cases.db'), ...KEY)).rejects.toMatchObject({ exitCode: 4 });
    expect(captured.stdout).toContain('nothing proves that a signed log holds this session');
    expect(captured.stdout).not.toContain('    signed by');
  });

  it('that was forged shows with the key', async () => {
    await verify(retold(await exported('one')));
    await oplab('session', 'import', at('given.json'), '--into', at('cases.db'));
    await expect(oplab('audit', 'verify', '--file', at('cases.db'), ...KEY)).rejects.toMatchObject({ exitCode: 4 });
    expect(captured.stdout).toMatch(/row 4 is not the one with which the signed log sealed/);
  });

  it('is never signed by the log into which it was imported', async () => {
    const [file = ''] = await files('one');
    // Not into a log that a gateway has signed,
    const other = await openLogInThisThread({ path: at('other.db') });
    await other.append(by('own'), openedEntry({ namespace: 'tikv', name: 'own', uid: 'own' }, 'x'));
    const tree = await other.tree(0);
    await other.saveSignedNotes('signed', signLog(newSigner('other'), tree, tree.heads));
    await other.close();
    const importing = oplab('session', 'import', file, '--into', at('other.db'));
    await expect(importing).rejects.toMatchObject({
      message: expect.stringContaining('is the signed log of a gateway'),
    });
    // and no gateway signs a file with imports.
    await oplab('session', 'import', file, '--into', at('cases.db'));
    const cases = await openLogInThisThread({ path: at('cases.db') });
    await expect(cases.tree(0)).rejects.toThrow(/imported, such as one, and a log must not sign/);
    await cases.close();
  });

  it('says nothing about the sessions beside it, and makes no import of a log that was signed', async () => {
    const kept = [await exported('one'), await exported('three')];
    await served.whileClosed(async () => {
      const cut = (sql: string) => {
        const db = new DatabaseSync(at('audit.db'));
        for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()) {
          if (/_no_delete$/.test(String(name))) db.exec(`DROP TRIGGER ${String(name)}`);
        }
        db.exec(sql);
        const add = db.prepare('INSERT OR IGNORE INTO imports VALUES (?, ?, ?)');
        for (const { session, exportedAt, proof } of kept) add.run(session.id, exportedAt, canonicalJson(proof));
        db.close();
      };
      const tables = ['seals', 'entries', 'log_leaves'];
      cut(tables.map((table) => `DELETE FROM ${table} WHERE session = 'two'`).join(';'));
      captured.stdout = '';
      const verifying = oplab('audit', 'verify', '--file', at('audit.db'), ...KEY);
      await expect(verifying).rejects.toMatchObject({ exitCode: 4 });
      expect(captured.stdout).toMatch(/the log was set back or replaced/);
      cut('DELETE FROM signed_notes');
      captured.stdout = '';
      await oplab('audit', 'verify', '--file', at('audit.db'), ...KEY).catch(() => undefined);
      expect(captured.stdout).toContain('only imported sessions');
      expect(captured.stdout).not.toContain('openings and seals');
    });
  });

  it('completes an earlier one, with the newer proof', async () => {
    const [early = ''] = await files('three');
    await oplab('session', 'import', early, '--into', at('cases.db'));
    await served.log.seal(by('three'), sealEntry('Resolved'));
    await sign();
    now = new Date('2026-01-01T00:20:00Z');
    const [late = ''] = await files('three');
    await oplab('session', 'import', late, '--into', at('cases.db'));
    captured.stdout = '';
    await oplab('audit', 'verify', '--file', at('cases.db'), ...KEY);
    expect(captured.stdout).toContain('3 entries, sealed');
    expect(captured.stdout).toContain('signed by oplab.dev/audit, from whose log it was imported');
  });
});

const sha256root = (text: string) => Buffer.from(sha256(text), 'hex').toString('base64');
