// Access to the audit file through node:sqlite: rows and statements, no threads and no redaction.

import { existsSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { z } from 'zod';
import { AuditUnavailable, errorMessage } from '../errors.ts';
import { type Entry, entryKind, writer } from './entry.ts';
import type { ReadOptions, Reservation, SessionSummary } from './log.ts';
import type { Json } from './redaction.ts';
import { APPLICATION_ID, MIGRATIONS, TRIGGERS } from './schema.ts';
import type { Head } from './store-protocol.ts';

const entryRow = z
  .object({
    session: z.string(),
    seq: z.number(),
    time: z.string(),
    attempt: z.number(),
    writer,
    client_key: z.string(),
    kind: entryKind,
    tool: z.string().nullable(),
    params: z.string().nullable(),
    exit_code: z.number().nullable(),
    duration_ms: z.number().nullable(),
    content: z.string(),
    blob_digest: z.string().nullable(),
    prev_hash: z.string(),
    hash: z.string(),
  })
  .transform(
    (row): Entry => ({
      session: row.session,
      seq: row.seq,
      time: row.time,
      attempt: row.attempt,
      writer: row.writer,
      clientKey: row.client_key,
      kind: row.kind,
      tool: row.tool,
      params: row.params === null ? null : parsedJson(row.params),
      exitCode: row.exit_code,
      durationMs: row.duration_ms,
      content: row.content,
      blobDigest: row.blob_digest,
      prevHash: row.prev_hash,
      hash: row.hash,
    }),
  );

/** Bypasses the schema's copy, which would drop a key such as __proto__ and break the hash. */
function parsedJson(text: string): Json {
  const value: Json = JSON.parse(text);
  return value;
}

const headRow = z.object({ seq: z.number(), time: z.string(), hash: z.string(), sealed: z.number() });
const sealRow = z.object({ session: z.string(), entries: z.number(), head_hash: z.string() });
const blobRow = z.object({ bytes: z.instanceof(Uint8Array) });
const nameRow = z.object({ name: z.string() });
const reservationRow = z.object({
  session: z.string(),
  client_key: z.string(),
  attempt: z.number(),
  bound: z.string(),
});
const sessionRow = z.object({
  session: z.string(),
  namespace: z.string(),
  name: z.string(),
  summary: z.string(),
  opened_at: z.string(),
  last_at: z.string(),
  entries: z.number(),
  head_hash: z.string(),
  sealed: z.number(),
  outcome: z.string().nullable(),
});

/** The end of a session's chain, which the next append links to. */
export interface ChainHead extends Head {
  readonly time: string;
}

/** A row that is not a valid entry. For the verifier. */
export interface UnreadableRow {
  readonly seq: number;
  readonly message: string;
}

const COLUMNS =
  'session, seq, time, attempt, writer, client_key, kind, tool, params, exit_code, duration_ms, content, blob_digest, prev_hash, hash';

/** One open audit file. */
export class AuditDatabase {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /**
   * Opens the file for writing: takes an exclusive lock, checks the file's integrity and migrates
   * its schema.
   * @throws AuditUnavailable with a message that says what to do
   */
  static openForWriting(path: string, busyTimeoutMs: number): AuditDatabase {
    return guard(path, () => {
      const db = new DatabaseSync(path, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
      try {
        // Must be first: in this mode, the first lock is kept until the file is closed.
        db.exec('PRAGMA locking_mode = EXCLUSIVE');
        db.exec('PRAGMA journal_mode = WAL');
        db.exec('PRAGMA synchronous = FULL');
        // Unless this is on, REPLACE deletes rows without firing their triggers.
        db.exec('PRAGMA recursive_triggers = ON');
        db.exec('BEGIN IMMEDIATE');
        db.exec('COMMIT');
        checkIntegrity(db, path, 'quick_check');
        migrate(db, path);
        return new AuditDatabase(db);
      } catch (error) {
        db.close();
        throw error;
      }
    });
  }

  /**
   * Opens a file for reading, such as a copy from a gateway's volume. Never changes it.
   * @throws AuditUnavailable if it is not an audit log, is in use or cannot be read
   */
  static openForReading(path: string): AuditDatabase {
    if (!existsSync(path)) throw new AuditUnavailable(`audit log ${path}: the file does not exist`);
    return guard(path, () => {
      const db = openReadOnly(path);
      try {
        const id = db.prepare('PRAGMA application_id').get()?.application_id;
        if (id !== APPLICATION_ID) {
          throw new AuditUnavailable(`audit log ${path}: the file is a SQLite database but not an audit log of oplab`);
        }
        requireVersion(db, path);
        return new AuditDatabase(db);
      } catch (error) {
        db.close();
        throw error;
      }
    });
  }

  close(): void {
    this.#db.close();
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  #all(sql: string, ...values: SQLInputValue[]): unknown[] {
    return this.#statement(sql).all(...values);
  }

  /** Runs `work` in one transaction. The writes are durable when this returns. */
  transaction<T>(work: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      // After some I/O errors, SQLite has already rolled back.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  head(session: string): ChainHead | undefined {
    const [row] = this.#all(
      `SELECT seq, time, hash, EXISTS (SELECT 1 FROM seals WHERE session = ?1) AS sealed
       FROM entries WHERE session = ?1 ORDER BY seq DESC LIMIT 1`,
      session,
    );
    if (row === undefined) return undefined;
    const { seq, time, hash, sealed } = headRow.parse(row);
    return { entries: seq, headHash: hash, sealed: sealed !== 0, time };
  }

  byClientKey(session: string, author: string, clientKey: string): Entry | undefined {
    const [row] = this.#all(
      `SELECT ${COLUMNS} FROM entries WHERE session = ? AND writer = ? AND client_key = ?`,
      session,
      author,
      clientKey,
    );
    return row === undefined ? undefined : entryRow.parse(row);
  }

  insert(entry: Entry, canonicalParams: string | null): void {
    this.#statement(`INSERT INTO entries (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).run(
      entry.session,
      entry.seq,
      entry.time,
      entry.attempt,
      entry.writer,
      entry.clientKey,
      entry.kind,
      entry.tool,
      canonicalParams,
      entry.exitCode,
      entry.durationMs,
      entry.content,
      entry.blobDigest,
      entry.prevHash,
      entry.hash,
    );
  }

  insertBlob(digest: string, bytes: Uint8Array, time: string): void {
    this.#statement('INSERT INTO blobs (digest, bytes, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING').run(
      digest,
      bytes,
      time,
    );
  }

  insertSeal(session: string, entries: number, headHash: string): void {
    this.#statement('INSERT INTO seals (session, entries, head_hash) VALUES (?, ?, ?)').run(session, entries, headHash);
  }

  insertReservation({ session, clientKey, attempt, bound }: Reservation): void {
    this.#statement('INSERT INTO reservations (session, client_key, attempt, bound) VALUES (?, ?, ?, ?)').run(
      session,
      clientKey,
      attempt,
      JSON.stringify(bound),
    );
  }

  /** Deletes one reservation, or all of a session if there is no key. */
  deleteReservations(session: string, clientKey?: string): void {
    if (clientKey === undefined) this.#statement('DELETE FROM reservations WHERE session = ?').run(session);
    else this.#statement('DELETE FROM reservations WHERE session = ? AND client_key = ?').run(session, clientKey);
  }

  reservations(): Reservation[] {
    return this.#all('SELECT session, client_key, attempt, bound FROM reservations ORDER BY rowid').map((row) => {
      const { client_key: clientKey, bound, ...rest } = reservationRow.parse(row);
      return { ...rest, clientKey, bound: parsedJson(bound) };
    });
  }

  /** Writes a row outside the chain, to prove that writing works. */
  probe(time: string): void {
    this.#statement(
      'INSERT INTO probes (id, time) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET time = excluded.time',
    ).run(time);
  }

  /** Moves the contents of the write-ahead log into the main file and makes them durable there. */
  checkpoint(): void {
    this.#statement('PRAGMA wal_checkpoint(TRUNCATE)').all();
  }

  seal(session: string): { entries: number; headHash: string } | undefined {
    const [row] = this.#all('SELECT session, entries, head_hash FROM seals WHERE session = ?', session);
    if (row === undefined) return undefined;
    const { entries, head_hash } = sealRow.parse(row);
    return { entries, headHash: head_hash };
  }

  read(session: string, options: ReadOptions = {}): Entry[] {
    return this.#all(
      `SELECT ${COLUMNS} FROM entries WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?`,
      session,
      options.afterSeq ?? 0,
      options.limit ?? -1,
    ).map((row) => entryRow.parse(row));
  }

  /**
   * All rows of a session. Rows that do not match the schema are listed separately. For the
   * verifier.
   */
  readForVerification(session: string): { entries: Entry[]; unreadable: UnreadableRow[] } {
    const entries: Entry[] = [];
    const unreadable: UnreadableRow[] = [];
    for (const row of this.#statement(`SELECT ${COLUMNS} FROM entries WHERE session = ? ORDER BY seq`).iterate(
      session,
    )) {
      const seq = typeof row.seq === 'number' ? row.seq : 0;
      try {
        entries.push(entryRow.parse(row));
      } catch (error) {
        unreadable.push({ seq, message: errorMessage(error).split('\n')[0] ?? '' });
      }
    }
    return { entries, unreadable };
  }

  tail(session: string, count: number): Entry[] {
    return this.#all(`SELECT ${COLUMNS} FROM entries WHERE session = ? ORDER BY seq DESC LIMIT ?`, session, count)
      .map((row) => entryRow.parse(row))
      .reverse();
  }

  sessions(): SessionSummary[] {
    return this.#all('SELECT * FROM sessions ORDER BY opened_at, session').map((row) => {
      const parsed = sessionRow.parse(row);
      return {
        session: parsed.session,
        incident: { namespace: parsed.namespace, name: parsed.name, uid: parsed.session },
        summary: parsed.summary,
        openedAt: parsed.opened_at,
        lastAt: parsed.last_at,
        entries: parsed.entries,
        headHash: parsed.head_hash,
        sealed: parsed.sealed !== 0,
        outcome: parsed.outcome,
      };
    });
  }

  /** Every session that still has a row, even if the `sessions` view does not show it. */
  sessionIds(): string[] {
    return this.#all('SELECT session AS name FROM entries UNION SELECT session FROM seals ORDER BY 1').map(
      (row) => nameRow.parse(row).name,
    );
  }

  blob(digest: string): Uint8Array | undefined {
    const [row] = this.#all('SELECT bytes FROM blobs WHERE digest = ?', digest);
    return row === undefined ? undefined : blobRow.parse(row).bytes;
  }

  /** Required triggers that the file does not have. */
  missingTriggers(): string[] {
    const present = new Set(
      this.#all("SELECT name FROM sqlite_schema WHERE type = 'trigger'").map((row) => nameRow.parse(row).name),
    );
    return TRIGGERS.filter((name) => !present.has(name));
  }

  /**
   * Faults of the file itself, as reported by SQLite's integrity check. Empty if there are none.
   */
  faults(): string[] {
    return integrityFaults(this.#db, 'integrity_check');
  }
}

function openReadOnly(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { readOnly: true, timeout: 1000 });
  try {
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    return db;
  } catch (error) {
    db.close();
    // On a read-only medium, SQLite cannot create the shared memory that a WAL needs. Without a WAL
    // file, the database can be opened as immutable.
    if (existsSync(`${path}-wal`) || !/unable to open database file/.test(errorMessage(error))) throw error;
    const url = new URL('file:');
    url.pathname = path;
    return new DatabaseSync(`${url.href}?immutable=1`, { readOnly: true });
  }
}

function integrityFaults(db: DatabaseSync, pragma: 'quick_check' | 'integrity_check'): string[] {
  return db
    .prepare(`PRAGMA ${pragma}(20)`)
    .all()
    .map((row) => String(Object.values(row)[0]))
    .filter((line) => line !== 'ok');
}

function checkIntegrity(db: DatabaseSync, path: string, pragma: 'quick_check' | 'integrity_check'): void {
  const faults = integrityFaults(db, pragma);
  if (faults.length > 0) {
    throw new AuditUnavailable(
      `audit log ${path} is corrupt (${faults[0]}); keep the file as evidence, and start with an empty file or an intact copy`,
    );
  }
}

function schemaVersion(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.user_version ?? 0);
}

function requireVersion(db: DatabaseSync, path: string): void {
  const version = schemaVersion(db);
  if (version > MIGRATIONS.length) {
    throw new AuditUnavailable(
      `audit log ${path} has schema version ${version}, but this version of oplab supports up to ${MIGRATIONS.length}; use the version of oplab that wrote it, or a newer one`,
    );
  }
}

function migrate(db: DatabaseSync, path: string): void {
  requireVersion(db, path);
  const id = db.prepare('PRAGMA application_id').get()?.application_id;
  const empty = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n ?? 0) === 0;
  if (id !== APPLICATION_ID && !empty) {
    throw new AuditUnavailable(`${path} is a SQLite database of another program, not an audit log of oplab`);
  }
  for (let version = schemaVersion(db); version < MIGRATIONS.length; version += 1) {
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(MIGRATIONS[version] ?? '');
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec(`PRAGMA user_version = ${version + 1}`);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

/** Turns SQLite's errors into messages that say what happened and what to do. */
function guard<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof AuditUnavailable) throw error;
    const text = errorMessage(error);
    if (/database is locked|SQLITE_BUSY/.test(text)) {
      throw new AuditUnavailable(
        `audit log ${path} is in use by another process; stop that process, or read a copy of the file`,
        error,
      );
    }
    if (/not a database|malformed/.test(text)) {
      throw new AuditUnavailable(
        `audit log ${path} is corrupt (${text}); keep the file as evidence, and start with an empty file or an intact copy`,
        error,
      );
    }
    if (/readonly|read-only/.test(text)) {
      throw new AuditUnavailable(`audit log ${path} cannot be written: ${text}; mount its volume read-write`, error);
    }
    throw new AuditUnavailable(`audit log ${path} cannot be opened: ${text}`, error);
  }
}
