// Reads the log from a file: a SQLite file that no gateway has open, or a session export.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { AuditDatabase } from '../../audit/database.ts';
import { parseExport, type SessionExport } from '../../audit/export.ts';
import { requireFile } from '../../input/file.ts';
import { type AuditReader, nobodyWrites } from './audit-reader.ts';
import { openExportReader } from './export-reader.ts';

/**
 * The export in a file; undefined if it is another kind of file.
 * @throws InvalidInput if it cannot be read or is broken
 */
export function readExport(path: string, flag = '--file'): SessionExport | undefined {
  requireFile(path, flag);
  if (!beginsLikeJson(path)) return undefined;
  return parseExport(readFileSync(path, 'utf8'), path);
}

function beginsLikeJson(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(64);
    const length = readSync(file, start, 0, start.length, 0);
    return /^\s*\{/.test(start.subarray(0, length).toString('utf8'));
  } finally {
    closeSync(file);
  }
}

/**
 * Opens a SQLite file or a session export.
 * @throws AuditUnavailable if the file is not an audit log or is in use; InvalidInput if it cannot
 * be read, or if the export is broken
 */
export function openFileReader(path: string): AuditReader {
  const exported = readExport(path);
  if (exported !== undefined) return openExportReader(exported, path);
  const db = AuditDatabase.openForReading(path);
  return {
    source: path,
    sessions: async () => db.sessions(),
    session: async (id) => db.sessions().find((summary) => summary.session === id),
    entries: async (id, options) => db.read(id, options),
    async *follow(id, { afterSeq = 0 }) {
      for (const entry of db.read(id, { afterSeq })) yield { type: 'entry', entry };
      yield { type: 'sealed' };
    },
    openings: nobodyWrites,
    leaves: async (from) => (db.hasLogTables() ? db.log.leaves(from) : undefined),
    async signature() {
      if (!db.hasLogTables()) return undefined;
      return { leaves: db.log.leaves(), notes: db.log.notes('signed'), publicKey: undefined };
    },
    async importedProof(id) {
      const imports = db.hasLogTables() ? db.log.imports() : undefined;
      return imports?.has(id) ? (imports.get(id) ?? null) : undefined;
    },
    async blob(digest) {
      const bytes = db.blob(digest);
      return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
    },
    close: async () => db.close(),
  };
}
