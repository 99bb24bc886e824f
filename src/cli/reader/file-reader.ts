// The log in a SQLite file that no gateway has open, such as a copy of its volume.

import { AuditDatabase } from '../../audit/database.ts';
import type { AuditReader } from './audit-reader.ts';

/** @throws AuditUnavailable when the file is no audit log, or in use */
export function openFileReader(path: string): AuditReader {
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
    async blob(digest) {
      const bytes = db.blob(digest);
      return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
    },
    close: async () => db.close(),
  };
}
