// Access to the audit file through node:sqlite: rows and statements, no threads and no redaction.

import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { errorMessage } from '../errors.ts';
import { integrityFaults, makePrivate, openForReading, openForWriting, schemaVersion } from './database-file.ts';
import {
  blobRow,
  decodeTexts,
  ENTRY_COLUMNS,
  ENTRY_TEXTS,
  entryRow,
  headRow,
  nameRow,
  parsedJson,
  requireCanonicalParams,
  reservationRow,
  sealRow,
  sessionRow,
  spendingRow,
  strictColumns,
  usageRow,
} from './database-rows.ts';
import type { Entry } from './entry.ts';
import { sha256 } from './hash-chain.ts';
import type { ClassSpending, Head, ReadOptions, Reservation, SessionSummary } from './log.ts';
import { LogTables } from './log-tables.ts';
import { Pruning } from './prune.ts';
import { LOG_TABLES_VERSION, LOG_TRIGGERS, TRIGGERS } from './schema.ts';
import { schemaFaults } from './schema-faults.ts';
import type { SessionUsage } from './session-quota.ts';

/** The end of a session's chain, which the next append links to. */
export interface ChainHead extends Head {
  readonly time: string;
}

/** A row that is not a valid entry. For the verifier. */
export interface UnreadableRow {
  readonly seq: number;
  readonly message: string;
}

/** One open audit file. */
export class AuditDatabase {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly pruning: Pruning;
  /** The tables about the log as a whole. */
  readonly log: LogTables;

  private constructor(db: DatabaseSync) {
    this.#db = db;
    this.pruning = new Pruning(db);
    this.log = new LogTables({
      all: (sql, ...values) => this.#all(sql, ...values),
      run: (sql, ...values) => void this.#statement(sql).run(...values),
    });
  }

  /**
   * Opens the file for writing: takes an exclusive lock, checks the file's integrity and migrates
   * its schema.
   * @throws AuditUnavailable with a message that says what to do
   */
  static openForWriting(path: string, busyTimeoutMs: number): AuditDatabase {
    return new AuditDatabase(openForWriting(path, busyTimeoutMs));
  }

  /**
   * The same for a copy on somebody's machine, where a new file would be for everybody to read. It
   * holds what agents saw of a cluster.
   */
  static openCopyForWriting(path: string): AuditDatabase {
    makePrivate(path);
    return AuditDatabase.openForWriting(path, 1000);
  }

  /**
   * Opens a file for reading, such as a copy from a gateway's volume. Never changes it.
   * @throws AuditUnavailable if it is not an audit log, is in use or cannot be read
   */
  static openForReading(path: string): AuditDatabase {
    return new AuditDatabase(openForReading(path));
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
    const tombstone = this.pruning.tombstone(session);
    if (tombstone !== undefined) {
      const { entries, headHash, prunedAt, summary } = tombstone;
      return { entries, headHash, sealed: true, time: summary.lastAt, prunedAt };
    }
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
      `SELECT ${ENTRY_COLUMNS} FROM entries WHERE session = ? AND writer = ? AND client_key = ?`,
      session,
      author,
      clientKey,
    );
    return row === undefined ? undefined : entryRow.parse(row);
  }

  insert(entry: Entry, canonicalParams: string | null): void {
    this.#statement(`INSERT INTO entries (${ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`).run(
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

  /** @returns whether the text is new */
  insertBlob(digest: string, bytes: Uint8Array, time: string): boolean {
    const { changes } = this.#statement(
      'INSERT INTO blobs (digest, bytes, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
    ).run(digest, bytes, time);
    return Number(changes) > 0;
  }

  /** What a session uses on disk. */
  usage(session: string): SessionUsage {
    const [row] = this.#all('SELECT entries, bytes FROM usage WHERE session = ?', session);
    return row === undefined ? { entries: 0, bytes: 0 } : usageRow.parse(row);
  }

  addUsage(session: string, entries: number, bytes: number): void {
    this.#statement(
      `INSERT INTO usage (session, entries, bytes) VALUES (?, ?, ?) ON CONFLICT (session)
       DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes`,
    ).run(session, entries, bytes);
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
    const tombstone = this.pruning.tombstone(session);
    if (tombstone !== undefined) return { entries: tombstone.entries, headHash: tombstone.headHash };
    const [row] = this.#all('SELECT session, entries, head_hash FROM seals WHERE session = ?', session);
    if (row === undefined) return undefined;
    const { entries, head_hash } = sealRow.parse(row);
    return { entries, headHash: head_hash };
  }

  /** Empty for a pruned session. */
  read(session: string, options: ReadOptions = {}): Entry[] {
    if (this.pruning.tombstone(session) !== undefined) return [];
    return this.#all(
      `SELECT ${ENTRY_COLUMNS} FROM entries WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?`,
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
    const columns = strictColumns(ENTRY_COLUMNS, ENTRY_TEXTS);
    const rows = this.#statement(`SELECT ${columns} FROM entries WHERE session = ? ORDER BY seq`).iterate(session);
    for (const row of rows) {
      const seq = typeof row.seq === 'number' ? row.seq : 0;
      try {
        const texts = decodeTexts(row);
        const entry = entryRow.parse(texts);
        requireCanonicalParams(texts, entry);
        entries.push(entry);
      } catch (error) {
        unreadable.push({ seq, message: errorMessage(error).split('\n')[0] ?? '' });
      }
    }
    return { entries, unreadable };
  }

  /** Digests whose stored bytes have another digest. For the verifier. */
  changedBlobs(): string[] {
    const changed: string[] = [];
    for (const row of this.#statement('SELECT digest AS name, bytes FROM blobs ORDER BY digest').iterate()) {
      const { name } = nameRow.parse(row);
      if (sha256(blobRow.parse(row).bytes) !== name) changed.push(name);
    }
    return changed;
  }

  tail(session: string, count: number): Entry[] {
    if (this.pruning.tombstone(session) !== undefined) return [];
    return this.#all(`SELECT ${ENTRY_COLUMNS} FROM entries WHERE session = ? ORDER BY seq DESC LIMIT ?`, session, count)
      .map((row) => entryRow.parse(row))
      .reverse();
  }

  sessions(): SessionSummary[] {
    const left = this.#all(
      'SELECT * FROM sessions WHERE session NOT IN (SELECT session FROM pruned) ORDER BY opened_at, session',
    ).map((row): SessionSummary => {
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
    const tombstones = this.pruning.tombstones();
    if (tombstones.length === 0) return left;
    return [...left, ...tombstones.map(({ summary }) => summary)].sort((a, b) => a.openedAt.localeCompare(b.openedAt));
  }

  /** Reads only the calls since that time, by their own index. */
  spendingSince(time: string): ClassSpending[] {
    return this.#all(
      `SELECT params ->> '$.agentClass' AS agent_class,
         sum(params ->> '$.costMicroUSD') AS cost,
         sum((params ->> '$.inputTokens') + (params ->> '$.outputTokens')
           + (params ->> '$.cacheWriteTokens')) AS tokens
       FROM entries
       WHERE kind = 'model_call' AND writer = 'gateway' AND time >= ?
         AND params ->> '$.agentClass' IS NOT NULL AND params ->> '$.costMicroUSD' IS NOT NULL
       GROUP BY 1`,
      time,
    ).map((row) => {
      const { agent_class: agentClass, cost, tokens } = spendingRow.parse(row);
      return { agentClass, costMicroUSD: cost, tokens };
    });
  }

  /** Every session that still has a row, even if the `sessions` view does not show it. */
  sessionIds(): string[] {
    return this.#all(
      'SELECT session AS name FROM entries UNION SELECT session FROM seals UNION SELECT session FROM pruned ORDER BY 1',
    ).map((row) => nameRow.parse(row).name);
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
    return [...TRIGGERS, ...(this.hasLogTables() ? LOG_TRIGGERS : [])].filter((name) => !present.has(name));
  }

  /** Whether the file should have the tables about the log as a whole. Older versions do not. */
  hasLogTables(): boolean {
    return schemaVersion(this.#db) >= LOG_TABLES_VERSION;
  }

  /** Tables, views and triggers that are not those of the file's version. For the verifier. */
  schemaFaults(): string[] {
    return schemaFaults(this.#db, schemaVersion(this.#db));
  }

  /**
   * Faults of the file itself, as reported by SQLite's integrity check. Empty if there are none.
   */
  faults(): string[] {
    return integrityFaults(this.#db, 'integrity_check');
  }
}
