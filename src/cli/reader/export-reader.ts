// Reads the log of a session export: one session, kept in memory.

import type { SessionExport } from '../../audit/export.ts';
import type { SessionSummary } from '../../audit/log.ts';
import { type AuditReader, nobodyWrites } from './audit-reader.ts';

/** A reader over a parsed session export. */
export function openExportReader(file: SessionExport, path: string): AuditReader {
  const { session: of, entries, blobs } = file;
  const summary: SessionSummary = {
    session: of.id,
    incident: { ...of.incident, uid: of.id },
    summary: of.summary,
    openedAt: of.openedAt,
    lastAt: of.lastAt,
    entries: of.entries,
    headHash: of.headHash,
    sealed: of.sealed,
    outcome: of.outcome,
  };
  const after = (id: string, seq: number) => (id === of.id ? entries.filter((entry) => entry.seq > seq) : []);
  return {
    source: path,
    sessions: async () => [summary],
    session: async (id) => (id === of.id ? summary : undefined),
    entries: async (id, { afterSeq = 0, limit = entries.length } = {}) => after(id, afterSeq).slice(0, limit),
    async *follow(id, { afterSeq = 0 }) {
      for (const entry of after(id, afterSeq)) yield { type: 'entry', entry };
      yield { type: 'sealed' };
    },
    openings: nobodyWrites,
    leaves: async () => undefined,
    signature: async () => undefined,
    importedProof: async (id) => (id === of.id ? (file.proof ?? null) : undefined),
    async blob(digest) {
      return Object.hasOwn(blobs, digest) ? blobs[digest] : undefined;
    },
    close: async () => undefined,
  };
}
