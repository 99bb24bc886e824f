// A log file that is verified with the public key alone: a changed byte in any cell and any removed row shows.

import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { signLog } from './checkpoint.ts';
import { ENTRY_COLUMNS, entryRow } from './database-rows.ts';
import { entryHash, genesisHash } from './hash-chain.ts';
import { openedEntry, sealEntry } from './lifecycle.ts';
import { LOG_TABLES_VERSION } from './schema.ts';
import { parseSigner } from './signed-note.ts';
import type { AuditStore } from './store.ts';
import { type FileReport, isSound, verifyFile } from './verify.ts';
import type { SignedStatement, TrustedKeys } from './verify-log.ts';

const pem = () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const signer = parseSigner('example.com/log', pem(), 'test');
const keys: TrustedKeys = { verifiers: [signer.verifier], source: '--public-key', onFirstUse: false };

let directory: string;
let original: string;
let file: string;
/** The checkpoint after the first session was sealed. */
let early: SignedStatement;

const by = (session: string) => ({ session, attempt: 1, writer: 'gateway' }) as const;

async function open(log: AuditStore, name: string): Promise<void> {
  await log.append(by(name), openedEntry({ namespace: 'tikv', name, uid: name }, `${name} is down`));
  await log.append(
    { ...by(name), writer: 'agent' },
    {
      clientKey: `${name}-1`,
      kind: 'tool_result',
      tool: 'shell',
      // Texts with several spellings: escapes in JSON, and U+FFFD, which stands for invalid bytes.
      params: { text: '\u001b\ud800', number: 1e21, list: [null, true] },
      exitCode: 0,
      durationMs: 12,
      content: `a result \ufffd of ${name}`,
      blob: `the whole output of ${name}`,
    },
  );
}

async function sign(log: AuditStore): Promise<SignedStatement> {
  const tree = await log.tree(0);
  const notes = signLog(signer, tree, tree.heads);
  await log.saveSignedNotes('signed', notes);
  await log.saveSignedNotes('published', notes);
  return { source: 'the saved checkpoint', notes };
}

beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'oplab-signed-'));
  original = path.join(directory, 'original.db');
  file = path.join(directory, 'audit.db');
  const log = await openLogInThisThread({ path: original });
  await open(log, 'zero');
  await log.seal(by('zero'), sealEntry('Resolved'));
  await log.prune(new Date(Date.now() + 60_000));
  await open(log, 'one');
  await log.seal(by('one'), sealEntry('Resolved'));
  early = await sign(log);
  await open(log, 'two');
  await log.seal(by('two'), sealEntry('Deleted'));
  await open(log, 'three');
  await sign(log);
  await log.close();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

type Row = Record<string, unknown>;

/** Changes a copy of the file like someone who may write it, and verifies it. */
function altered(change: (db: DatabaseSync) => void, options: Parameters<typeof verifyFile>[1] = { keys }): FileReport {
  copyFileSync(original, file);
  const db = new DatabaseSync(file, { enableForeignKeyConstraints: false });
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  // Nothing here has to survive a crash.
  db.exec('PRAGMA synchronous = OFF');
  db.exec('BEGIN');
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${String(name)}`);
  db.exec('PRAGMA ignore_check_constraints = ON');
  change(db);
  for (const { sql } of triggers) db.exec(String(sql));
  db.exec('COMMIT');
  db.close();
  return verifyFile(file, options);
}

const messages = (report: FileReport) =>
  [...report.findings, ...report.sessions.flatMap(({ findings }) => findings)].map(({ message }) => message).join('\n');

/** The tables that are evidence, and the columns in them that nothing covers. */
const EVIDENCE: Readonly<Record<string, readonly string[]>> = {
  entries: [],
  seals: [],
  log_leaves: [],
  signed_notes: [],
  blobs: ['created'],
  // What remains readable of a pruned session. Only its seal is covered.
  pruned: ['pruned_at', 'summary'],
};
/**
 * Not evidence: a probe of the disk, what calls in progress may cost, and what sessions use. A signed
 * log has no imports: the next test plants one.
 */
const FREE = ['probes', 'reservations', 'usage', 'imports'];

/** Other values for a cell, each at most one byte away. */
function* neighbours(
  value: unknown,
): Generator<{ readonly sql: string; readonly parameters: (number | Uint8Array)[] }> {
  if (typeof value === 'number') {
    for (const other of [value + 1, value - 1]) yield { sql: '?', parameters: [other] };
    return;
  }
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) return;
  const bytes = Buffer.from(value);
  // Each byte once, with another bit each time, and the case of each letter.
  for (let at = 0; at < bytes.length; at += 1) {
    const replaced = Buffer.from(bytes);
    replaced[at] = (bytes[at] ?? 0) ^ (1 << (at % 7));
    yield { sql: typeof value === 'string' ? 'CAST(? AS TEXT)' : '?', parameters: [replaced] };
    if (!/[A-Za-z\xef]/.test(String.fromCharCode(bytes[at] ?? 0))) continue;
    const spelled = Buffer.from(bytes);
    spelled[at] = bytes[at] === 0xef ? 0xf0 : (bytes[at] ?? 0) ^ 0x20;
    yield { sql: typeof value === 'string' ? 'CAST(? AS TEXT)' : '?', parameters: [spelled] };
  }
}

describe('a signed log file', () => {
  it('is sound, and every session is covered by the signature', () => {
    const report = altered(() => {});
    expect(messages(report)).toBe('');
    expect(report.checkpoint).toMatchObject({ origin: 'example.com/log', size: 7, vkey: signer.verifier.vkey });
    expect(report.sessions.map(({ session, entries, signed }) => [session, entries, signed])).toEqual([
      ['one', 3, { by: 'example.com/log', entries: 3 }],
      ['three', 2, { by: 'example.com/log', entries: 2 }],
      ['two', 3, { by: 'example.com/log', entries: 3 }],
      ['zero', 3, { by: 'example.com/log', entries: 3 }],
    ]);
  });

  it('has no table that is neither evidence nor listed here', () => {
    const db = new DatabaseSync(original, { readOnly: true });
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
    db.close();
    expect(tables.map(({ name }) => name).sort()).toEqual([...Object.keys(EVIDENCE), ...FREE].sort());
  });

  it('shows an import that was planted, so that its own signature would not count', () => {
    for (const sessions of ["VALUES ('one')", 'SELECT DISTINCT session FROM entries']) {
      const report = altered((db) => db.exec(`INSERT INTO imports SELECT *, 't', NULL FROM (${sessions})`));
      expect(messages(report)).toContain('nothing proves that a signed log holds this session');
    }
  });

  it.each(Object.keys(EVIDENCE))('shows a changed byte in every cell of table %s', (table) => {
    const source = new DatabaseSync(original, { readOnly: true });
    const rows: Row[] = source.prepare(`SELECT rowid AS place, * FROM ${table}`).all();
    source.close();
    expect(rows.length).toBeGreaterThan(0);
    const unnoticed: string[] = [];
    let tried = 0;
    for (const [number, { place, ...row }] of rows.entries()) {
      for (const [column, value] of Object.entries(row)) {
        if (EVIDENCE[table]?.includes(column)) continue;
        // Long texts are hashed or signed as a whole: a part of their bytes is enough, others in each row.
        const all = [...neighbours(value)];
        const step = Math.ceil(all.length / 2);
        for (const { sql, parameters } of all.filter((_, at) => at % step === number % step)) {
          tried += 1;
          const set = `UPDATE OR REPLACE ${table} SET ${column} = ${sql} WHERE rowid = ?`;
          const report = altered((db) => db.prepare(set).run(...parameters, Number(place)));
          if (isSound(report)) unnoticed.push(`${table} ${place} ${column} ${String(parameters[0])}`);
        }
      }
    }
    expect(unnoticed).toEqual([]);
    expect(tried).toBeGreaterThan(5);
  });

  it.each([
    ['\\u001b', '\\u001B', 'params'],
    ['1e+21', '1E+21', 'params'],
    ['efbfbd20', 'f0bfbd20', 'content'],
  ])('shows another spelling of the same value: %s as %s', (from, to, column) => {
    const hex = (text: string) => (column === 'content' ? text : Buffer.from(text).toString('hex')).toUpperCase();
    const report = altered((db) => {
      const { changes } = db
        .prepare(
          `UPDATE entries SET ${column} = CAST(unhex(replace(hex(${column}), ?, ?)) AS TEXT) WHERE hex(${column}) LIKE ?`,
        )
        .run(hex(from), hex(to), `%${hex(from)}%`);
      expect(changes).toBe(3);
    });
    expect(messages(report)).toMatch(/row 2 was changed: it is no longer a valid entry/);
  });

  it.each(['entries', 'seals', 'log_leaves', 'pruned', "signed_notes WHERE state = 'signed' OR state = 'published'"])(
    'shows rows removed from %s',
    (table) => {
      const [name = '', condition = 'TRUE'] = table.split(' WHERE ');
      if (name !== 'signed_notes') {
        const db = new DatabaseSync(original, { readOnly: true });
        const places = db.prepare(`SELECT rowid AS place FROM ${name}`).all();
        db.close();
        for (const { place } of places) {
          expect(isSound(altered((copy) => copy.exec(`DELETE FROM ${name} WHERE rowid = ${String(place)}`)))).toBe(
            false,
          );
        }
      }
      expect(isSound(altered((copy) => copy.exec(`DELETE FROM ${name} WHERE ${condition}`)))).toBe(false);
    },
  );

  const rebuilt = 'CREATE TABLE kept AS SELECT * FROM log_leaves WHERE session <> ? ORDER BY position';
  const withoutSession = (session: string) => (db: DatabaseSync) => {
    db.exec(`DELETE FROM seals WHERE session = '${session}'; DELETE FROM entries WHERE session = '${session}'`);
    db.exec(rebuilt.replace('?', `'${session}'`));
    db.exec('DELETE FROM log_leaves');
    db.exec('INSERT INTO log_leaves SELECT row_number() OVER () - 1, event, session, entries, hash FROM kept');
    db.exec('DROP TABLE kept');
  };

  it('shows a session that vanished with its leaves; without the key, it is not noticed', () => {
    const change = withoutSession('one');
    expect(messages(altered(change))).toMatch(
      /the log was set back or replaced: .* covers 7 leaves, but the log has 5/,
    );
    expect(isSound(altered(change, {}))).toBe(true);
  });

  it('shows a session that vanished without its leaves, even without the key', () => {
    const change = (db: DatabaseSync) =>
      db.exec("DELETE FROM seals WHERE session = 'one'; DELETE FROM entries WHERE session = 'one'");
    expect(messages(altered(change, {}))).toContain('session one: it was removed from the log: leaf 2');
  });

  it('shows two sessions whose rows were exchanged', () => {
    const report = altered((db) => {
      for (const table of ['entries', 'seals']) {
        db.exec(`UPDATE ${table} SET session = 'x' WHERE session = 'one'`);
        db.exec(`UPDATE ${table} SET session = 'one' WHERE session = 'two'`);
        db.exec(`UPDATE ${table} SET session = 'two' WHERE session = 'x'`);
      }
    });
    expect(messages(report)).toContain('row 1 is not the one with which the session was opened (leaf 2)');
  });

  it('shows a running session that was called sealed', () => {
    const seal = "INSERT INTO seals SELECT session, seq, hash FROM entries WHERE session = 'three' AND seq = 2";
    const leaf =
      "INSERT INTO log_leaves SELECT 7, 'sealed', session, seq, hash FROM entries WHERE session = 'three' AND seq = 2";
    expect(messages(altered((db) => db.exec(`${seal}; ${leaf}`)))).toContain('row 2 is not a seal');
  });

  it('shows a running session that was cut and whose end was written anew', () => {
    const report = altered((db) => db.exec("DELETE FROM entries WHERE session = 'three' AND seq = 2"));
    expect(messages(report)).toMatch(/row 2 is missing; the list of heads in .* covers 2 entries/);
    const unsigned = altered((db) => db.exec("DELETE FROM entries WHERE session = 'three' AND seq = 2"), {});
    expect(messages(unsigned)).toBe('');
  });

  it('shows a sealed session that was written anew, with leaves of its own behind the signed ones', () => {
    const report = altered((db) => {
      db.exec(
        'CREATE TABLE kept AS SELECT * FROM log_leaves; DROP TABLE log_leaves; ALTER TABLE kept RENAME TO log_leaves',
      );
      const rows = db.prepare(`SELECT ${ENTRY_COLUMNS} FROM entries WHERE session = 'one' ORDER BY seq`).all();
      let prevHash = genesisHash('one');
      const add = db.prepare("INSERT INTO log_leaves SELECT max(position) + 1, ?, 'one', ?, ? FROM log_leaves");
      for (const row of rows) {
        const fields = { ...entryRow.parse(row), prevHash };
        const made = { ...fields, content: 'nothing happened', blobDigest: null };
        prevHash = entryHash(made);
        const set = 'content = ?, blob_digest = NULL, prev_hash = ?, hash = ?';
        db.prepare(`UPDATE entries SET ${set} WHERE session = 'one' AND seq = ?`).run(
          ...[made.content, made.prevHash, prevHash, made.seq],
        );
        if (made.seq === 1) add.run('opened', 1, prevHash);
      }
      add.run('sealed', rows.length, prevHash);
      db.prepare("UPDATE seals SET head_hash = ? WHERE session = 'one'").run(prevHash);
    });
    expect(messages(report)).toContain('row 1 is not the one with which the session was opened (leaf 2)');
    expect(messages(report)).toContain('leaf 7 of the log repeats that session one was opened');
  });

  it('shows a running session that was removed behind a tombstone whose seal nobody signed', () => {
    const entomb = (session: string) => (db: DatabaseSync) => {
      const hash = 'a'.repeat(64);
      const summary = JSON.stringify({
        ...{
          session,
          incident: { namespace: 'tikv', name: session, uid: session },
          summary: 'x',
          openedAt: '',
          lastAt: '',
        },
        ...{ entries: 9, headHash: hash, sealed: true, outcome: 'Resolved' },
      });
      db.prepare('DELETE FROM entries WHERE session = ?').run(session);
      db.prepare("INSERT INTO log_leaves SELECT max(position) + 1, 'sealed', ?, 9, ? FROM log_leaves").run(
        session,
        hash,
      );
      db.prepare("INSERT INTO pruned VALUES (?, 9, ?, '2026-01-01T00:00:00.000Z', ?)").run(session, hash, summary);
    };
    expect(messages(altered(entomb('three')))).toMatch(/its seal is not signed/);
  });

  it('shows a view, a trigger or a table that is not the one of its version', () => {
    const shown = (change: string) => messages(altered((db) => db.exec(change), {}));
    const view = 'CREATE VIEW sessions AS SELECT DISTINCT session, 1 AS entries FROM entries';
    expect(shown(`DROP VIEW sessions; ${view}`)).toContain('view sessions was changed');
    expect(shown('DROP VIEW sessions')).toContain('view sessions is missing');
    expect(shown('CREATE TRIGGER later AFTER INSERT ON entries BEGIN SELECT 1; END')).toContain(
      'trigger later is not part of an audit log',
    );
    const replaced = 'ALTER TABLE usage RENAME TO kept; CREATE VIEW usage AS SELECT * FROM kept';
    expect(shown(replaced)).toMatch(/table usage is missing[\s\S]*view usage is not part of an audit log/);
    expect(shown('ANALYZE')).toBe('');
  });

  it('shows the notes of another key, and those of an earlier log', () => {
    const forger = parseSigner('example.com/log', pem(), 'test');
    const forged = signLog(forger, { size: 0, root: Buffer.alloc(32).toString('base64') }, []);
    const set = 'UPDATE signed_notes SET checkpoint = ?, heads = ?';
    const report = altered((db) => db.prepare(set).run(forged.checkpoint, forged.heads));
    expect(messages(report)).toMatch(/is signed by example\.com\/log\+[0-9a-f]{8}, which is not a known key/);
  });

  it('agrees with a checkpoint that was saved earlier, and shows a file from before it', async () => {
    expect(messages(altered(() => {}, { keys, statements: [early] }))).toBe('');
    const older = path.join(directory, 'older.db');
    const log = await openLogInThisThread({ path: older });
    await open(log, 'one');
    await sign(log);
    await log.close();
    expect(isSound(verifyFile(older, { keys }))).toBe(true);
    const held = verifyFile(older, { keys, statements: [early] });
    expect(messages(held)).toContain('the saved checkpoint covers 4 leaves, but the log has 1');
  });
});

describe('a file of an earlier version', () => {
  const earlier = (db: DatabaseSync) => {
    db.exec(
      `DROP TABLE log_leaves; DROP TABLE signed_notes; DROP TABLE imports; PRAGMA user_version = ${LOG_TABLES_VERSION - 1}`,
    );
  };
  const drop = () => {
    copyFileSync(original, file);
    const db = new DatabaseSync(file);
    for (const name of ['entries_open_session', 'seals_close_session', 'pruned_close_session'])
      db.exec(`DROP TRIGGER ${name}`);
    earlier(db);
    db.close();
  };

  it('is verified without leaves, and cannot pass for a signed one', () => {
    drop();
    expect(messages(verifyFile(file))).toBe('');
    expect(messages(verifyFile(file, { keys }))).toBe('the log has no signed checkpoint');
  });

  it('gets its leaves from its rows, in the order of their times', async () => {
    drop();
    const log = await openLogInThisThread({ path: file });
    const leaves = await log.leaves(0, 100);
    await log.close();
    const source = await openLogInThisThread({ path: original });
    const before = await source.leaves(0, 100);
    await source.close();
    // Of a pruned session, only the seal is left. Its time is that of the prune.
    expect(leaves.map(({ event, session }) => `${event} ${session}`)).toEqual(
      before.map(({ event, session }) => `${event} ${session}`).filter((text) => text !== 'opened zero'),
    );
    expect(leaves.map(({ hash }) => hash).sort()).toEqual(
      before.flatMap(({ hash, event, session }) => (event === 'opened' && session === 'zero' ? [] : hash)).sort(),
    );
    expect(isSound(verifyFile(file))).toBe(true);
  });
});
