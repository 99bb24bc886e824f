// Opening the audit file: lock, integrity, schema version, and what to do if it cannot be opened.

import { closeSync, existsSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { AuditUnavailable, errorMessage } from '../errors.ts';
import { APPLICATION_ID, MIGRATIONS, PAGE_BYTES } from './schema.ts';

/** Pages in the write-ahead log after which it is copied into the file: 2 MiB. */
const WAL_PAGES = 512;

/**
 * Takes an exclusive lock, checks the file's integrity and migrates its schema.
 * @throws AuditUnavailable with a message that says what to do
 */
export function openForWriting(path: string, busyTimeoutMs: number): DatabaseSync {
  return guard(path, () => {
    const db = new DatabaseSync(path, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true });
    try {
      // Must be first: in this mode, the first lock is kept until the file is closed.
      db.exec('PRAGMA locking_mode = EXCLUSIVE');
      // Lets a file shrink in steps. Only a file without tables takes it on, and it is a write.
      if (pageCount(db) === 0) db.exec('PRAGMA auto_vacuum = INCREMENTAL');
      db.exec('PRAGMA journal_mode = WAL');
      db.exec('PRAGMA synchronous = FULL');
      // On a small volume, the write-ahead log must not keep the size of its largest transaction.
      db.exec(`PRAGMA wal_autocheckpoint = ${WAL_PAGES}`);
      db.exec(`PRAGMA journal_size_limit = ${WAL_PAGES * PAGE_BYTES}`);
      // Unless this is on, REPLACE deletes rows without firing their triggers.
      db.exec('PRAGMA recursive_triggers = ON');
      db.exec('BEGIN IMMEDIATE');
      db.exec('COMMIT');
      checkIntegrity(db, path, 'quick_check');
      migrate(db, path);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  });
}

/** Creates an empty file that only its owner may read, unless there is one. SQLite fills it. */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch {
    // If it cannot be created, opening it says why.
  }
}

/**
 * Opens a file without changing it.
 * @throws AuditUnavailable if it is not an audit log, is in use or cannot be read
 */
export function openForReading(path: string): DatabaseSync {
  if (!existsSync(path)) throw new AuditUnavailable(`audit log ${path}: the file does not exist`);
  return guard(path, () => {
    const db = openReadOnly(path);
    try {
      const id = db.prepare('PRAGMA application_id').get()?.application_id;
      if (id !== APPLICATION_ID) {
        throw new AuditUnavailable(`audit log ${path}: the file is a SQLite database but not an audit log of oplab`);
      }
      requireVersion(db, path);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  });
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

/** The faults that SQLite's check of the file reports. Empty if there are none. */
export function integrityFaults(db: DatabaseSync, pragma: 'quick_check' | 'integrity_check'): string[] {
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

function pageCount(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA page_count').get()?.page_count ?? 0);
}

/** The number of migrations that the file has seen. */
export function schemaVersion(db: DatabaseSync): number {
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
    if (/file is not a database/.test(text)) {
      throw new AuditUnavailable(
        `audit log ${path}: the file is not a SQLite database, or its beginning is corrupt; check the path; if it is the log, keep it as evidence, and use an intact copy`,
        error,
      );
    }
    if (/malformed/.test(text)) {
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
