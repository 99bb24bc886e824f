// A session from an export back into an audit file, row by row as it was, so that every reader of such files can read it.

import { InvalidInput } from '../errors.ts';
import { AuditDatabase } from './database.ts';
import type { SessionExport } from './export.ts';
import { canonicalJson } from './hash-chain.ts';

/** Entries that were added; 0: the file had all of them. */
export interface ImportResult {
  readonly added: number;
}

/**
 * Writes a session, of which the export has been verified, into a file that no gateway has open; makes the file if there is none.
 * A session that is there already is completed when it is the beginning of this one.
 * @throws InvalidInput when the file has another session under this id, AuditUnavailable when it cannot be written
 */
export function importSession(path: string, exported: SessionExport, now: Date): ImportResult {
  const db = AuditDatabase.openForWriting(path, 1000);
  try {
    return db.transaction(() => {
      const { id, sealed, entries: count, headHash } = exported.session;
      const present = db.read(id);
      for (const [index, row] of present.entries()) {
        const ours = exported.entries[index];
        if (ours !== undefined && ours.hash !== row.hash) {
          throw new InvalidInput(`${path} has another session ${id}: row ${row.seq} differs; import into another file`);
        }
      }
      const added = exported.entries.slice(present.length);
      if (added.length > 0 && db.seal(id) !== undefined) {
        throw new InvalidInput(`${path} has session ${id} sealed with ${present.length} entries; this file has more`);
      }
      for (const [digest, text] of Object.entries(exported.blobs)) {
        db.insertBlob(digest, Buffer.from(text), now.toISOString());
      }
      for (const row of added) db.insert(row, row.params === null ? null : canonicalJson(row.params));
      if (sealed && db.seal(id) === undefined) db.insertSeal(id, count, headHash);
      return { added: added.length };
    });
  } finally {
    db.close();
  }
}
