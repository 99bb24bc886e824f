// The tables of the audit file about the log as a whole: the leaves of its tree and what was signed.

import * as z from 'zod';
import { AuditUnavailable } from '../errors.ts';
import { hashLeaf, type LogLeaf, logLeaf, type SessionHead, type SignedNotes, signedNotes } from './checkpoint.ts';
import { decodeTexts, strictColumns } from './database-rows.ts';
import { canonicalJson } from './hash-chain.ts';
import type { LogTree } from './log.ts';
import { MerkleTree } from './merkle.ts';
import { type SessionProof, sessionProof } from './session-proof.ts';

/** SQL on one open file. */
export interface Statements {
  all(sql: string, ...values: (string | number)[]): unknown[];
  run(sql: string, ...values: (string | number | null)[]): void;
}

/** Who knows what was signed: this file, or also the place outside it. */
export type NotesState = 'signed' | 'published';

const leafRow = logLeaf
  .omit({ index: true })
  .extend({ position: z.number() })
  .transform(({ position, ...rest }): LogLeaf => ({ index: position, ...rest }));
const headRow = z.object({ session: z.string(), entries: z.number(), headHash: z.string() });
const importRow = z.object({ session: z.string(), proof: z.string().nullable() });
const sizeRow = z.object({ size: z.number() });
const sessionRow = z.object({ session: z.string() });

function parseProof(text: string): SessionProof | undefined {
  try {
    return sessionProof.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The tree as it was when the last leaf was added. */
interface KnownTree {
  readonly tree: MerkleTree;
  readonly contradicted: readonly string[];
}

export class LogTables {
  readonly #sql: Statements;
  #known: KnownTree | undefined;

  constructor(sql: Statements) {
    this.#sql = sql;
  }

  /** The tables that the file should have and does not have. For the verifier. */
  missingTables(): string[] {
    return ['log_leaves', 'signed_notes'].filter(
      (name) => this.#sql.all("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", name).length === 0,
    );
  }

  /** Leaves in order, beginning with the one that has this index. @param limit default: all */
  leaves(from = 0, limit = -1): LogLeaf[] {
    return this.#sql
      .all(
        'SELECT position, event, session, entries, hash FROM log_leaves WHERE position >= ? ORDER BY position LIMIT ?',
        from,
        limit,
      )
      .map((row) => leafRow.parse(row));
  }

  /** Adds leaves of another copy of the log, in their order. */
  insertLeaves(leaves: readonly LogLeaf[]): void {
    for (const { index, event, session, entries, hash } of leaves) {
      this.#sql.run('INSERT INTO log_leaves VALUES (?, ?, ?, ?, ?)', index, event, session, entries, hash);
    }
  }

  /** Notes that a session came from an export. @param proof undefined if the export had none */
  addImport(session: string, exportedAt: string, proof: SessionProof | undefined): void {
    this.#sql.run(
      'INSERT OR IGNORE INTO imports VALUES (?, ?, ?)',
      session,
      exportedAt,
      proof === undefined ? null : canonicalJson(proof),
    );
  }

  /** By session: the newest proof of each that was imported. Undefined: none, or it was changed. */
  imports(): Map<string, SessionProof | undefined> {
    // Files of earlier versions do not have the table.
    if (this.#sql.all("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'imports'").length === 0) {
      return new Map();
    }
    const rows = this.#sql
      .all('SELECT session, proof FROM imports ORDER BY proof IS NOT NULL, exported_at')
      .map((row) => importRow.parse(row));
    return new Map(rows.map(({ session, proof }) => [session, proof === null ? undefined : parseProof(proof)]));
  }

  /** All leaves, and how many rows are not valid leaves. For the verifier. */
  leavesForVerification(): { leaves: LogLeaf[]; unreadable: number } {
    const columns = strictColumns('position, event, session, entries, hash', ['event', 'session', 'hash']);
    const rows = this.#sql
      .all(`SELECT ${columns} FROM log_leaves ORDER BY position`)
      .map((row) => leafRow.safeParse(decodeTexts(row)));
    const leaves = rows.flatMap(({ data }) => data ?? []);
    return { leaves, unreadable: rows.length - leaves.length };
  }

  /**
   * The tree over all leaves, and the heads of the sessions that still run. All leaves are read
   * again whenever there are new ones, so that a change of an old one shows.
   * @param prefix the size of an earlier tree whose root is wanted too
   */
  tree(prefix: number): LogTree {
    const [imported] = this.imports().keys();
    if (imported !== undefined) {
      throw new AuditUnavailable(
        `the audit file holds sessions that were imported, such as ${imported}, and a log must not sign what it did not record; put back the gateway's own file`,
      );
    }
    const [row] = this.#sql.all('SELECT coalesce(max(position) + 1, 0) AS size FROM log_leaves');
    if (this.#known?.tree.size !== sizeRow.parse(row).size) this.#known = this.#readTree();
    const { tree, contradicted } = this.#known;
    return {
      size: tree.size,
      root: tree.root().toString('base64'),
      prefixRoot: prefix <= tree.size ? tree.root(prefix).toString('base64') : undefined,
      heads: this.runningHeads(),
      contradicted,
    };
  }

  #readTree(): KnownTree {
    const tree = new MerkleTree();
    for (const leaf of this.leaves()) tree.append(hashLeaf(leaf));
    return { tree, contradicted: this.#contradicted() };
  }

  /** The heads of the sessions that are not sealed. */
  runningHeads(): SessionHead[] {
    return this.#sql
      .all(
        `SELECT e.session AS session, e.seq AS entries, e.hash AS headHash FROM log_leaves o
         JOIN entries e ON e.session = o.session AND e.seq = (SELECT max(seq) FROM entries WHERE session = o.session)
         WHERE o.event = 'opened' AND NOT EXISTS (SELECT 1 FROM seals WHERE session = o.session)
           AND NOT EXISTS (SELECT 1 FROM pruned WHERE session = o.session)
         ORDER BY e.session`,
      )
      .map((row) => headRow.parse(row));
  }

  /** Sessions whose entries or seal do not match their leaves. */
  #contradicted(): string[] {
    return this.#sql
      .all(
        `SELECT l.session AS session FROM log_leaves l
           LEFT JOIN entries e ON e.session = l.session AND e.seq = l.entries
           LEFT JOIN seals s ON s.session = l.session
           WHERE l.session NOT IN (SELECT session FROM pruned) AND (e.hash IS NOT l.hash
             OR l.event = 'sealed' AND (s.entries IS NOT l.entries OR s.head_hash IS NOT l.hash))
         UNION SELECT session FROM entries
           WHERE seq = 1 AND session NOT IN (SELECT session FROM log_leaves WHERE event = 'opened')
             AND session NOT IN (SELECT session FROM pruned)
         UNION SELECT p.session FROM pruned p
           LEFT JOIN log_leaves l ON l.session = p.session AND l.event = 'sealed'
           WHERE l.entries IS NOT p.entries OR l.hash IS NOT p.head_hash
         UNION SELECT session FROM seals
           WHERE session NOT IN (SELECT session FROM log_leaves WHERE event = 'sealed')
         ORDER BY 1`,
      )
      .map((row) => sessionRow.parse(row).session);
  }

  notes(state: NotesState): SignedNotes | undefined {
    const columns = strictColumns('checkpoint, heads', ['checkpoint', 'heads']);
    const [row] = this.#sql.all(`SELECT ${columns} FROM signed_notes WHERE state = ?`, state);
    return row === undefined ? undefined : signedNotes.parse(decodeTexts(row));
  }

  /** All notes. A row that is neither state counts as well, so that a renamed one shows. */
  notesForVerification(): (SignedNotes & { readonly state: string })[] {
    const texts = ['state', 'checkpoint', 'heads'];
    return this.#sql
      .all(`SELECT ${strictColumns(texts.join(', '), texts)} FROM signed_notes ORDER BY state`)
      .map((row) => {
        const parsed = signedNotes.extend({ state: z.enum(['signed', 'published']) }).safeParse(decodeTexts(row));
        return parsed.data ?? { state: 'unreadable', checkpoint: '', heads: '' };
      });
  }

  saveNotes(state: NotesState, { checkpoint, heads }: SignedNotes): void {
    this.#sql.run(
      `INSERT INTO signed_notes (state, checkpoint, heads) VALUES (?, ?, ?)
       ON CONFLICT (state) DO UPDATE SET checkpoint = excluded.checkpoint, heads = excluded.heads`,
      state,
      checkpoint,
      heads,
    );
  }
}
