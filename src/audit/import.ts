// Imports an exported session into an audit file, row by row and unchanged, so that every reader of
// audit files can read it.

import { InvalidInput } from '../errors.ts';
import { AuditDatabase } from './database.ts';
import type { SessionExport } from './export.ts';
import { canonicalJson } from './hash-chain.ts';
import { rowBytes, textBytes } from './session-quota.ts';

/** The number of entries added. It is 0 if the file already had all of them. */
export interface ImportResult {
  readonly added: number;
}

/**
 * Writes a session from a verified export into an audit file that no gateway has open. Creates the
 * file if it does not exist. If the file has the first entries of the session, adds the others.
 * @throws InvalidInput if the file has a different session with this id
 * @throws AuditUnavailable if the file cannot be written
 */
export function importSession(path: string, exported: SessionExport, now: Date): ImportResult {
  const db = AuditDatabase.openCopyForWriting(path);
  try {
    return db.transaction(() => {
      const { id, sealed, entries: count, headHash } = exported.session;
      if (db.pruning.tombstone(id) !== undefined) {
        throw new InvalidInput(`${path} has pruned session ${id}; import into another file`);
      }
      if (db.log.notes('signed') !== undefined) {
        throw new InvalidInput(
          `${path} is the signed log of a gateway, which holds only what it recorded itself; import into another file`,
        );
      }
      const present = db.read(id);
      for (const [index, row] of present.entries()) {
        const ours = exported.entries[index];
        if (ours !== undefined && ours.hash !== row.hash) {
          throw new InvalidInput(
            `${path} has a different session ${id}: row ${row.seq} differs; import into another file`,
          );
        }
      }
      const added = exported.entries.slice(present.length);
      if (added.length > 0 && db.seal(id) !== undefined) {
        throw new InvalidInput(
          `${path} has session ${id} sealed with ${present.length} entries, but the export has more; import into another file`,
        );
      }
      for (const [digest, text] of Object.entries(exported.blobs)) {
        const isNew = db.insertBlob(digest, Buffer.from(text), now.toISOString());
        if (isNew) db.addUsage(id, 0, textBytes(Buffer.byteLength(text)));
      }
      for (const row of added) {
        const params = row.params === null ? null : canonicalJson(row.params);
        db.insert(row, params);
        db.addUsage(id, 1, rowBytes({ ...row, params }));
      }
      if (sealed && db.seal(id) === undefined) db.insertSeal(id, count, headHash);
      db.log.addImport(id, exported.exportedAt, exported.proof);
      return { added: added.length };
    });
  } finally {
    db.close();
  }
}
