// Reads sessions for the session commands: from gateway and cluster, an audit file, or an export.

import { buildExport, type SessionExport } from '../audit/export.ts';
import { ProofSource } from '../audit/session-proof.ts';
import { InvalidInput, NotFound } from '../errors.ts';
import type { ConnectionFlags, Environment } from './environment.ts';
import { type AuditReader, allEntries } from './reader/audit-reader.ts';
import { readExport } from './reader/file-reader.ts';
import { type ResolvedSession, resolveSession } from './resolve-session.ts';
import { programVersion } from './version.ts';

export interface SourceFlags extends ConnectionFlags {
  readonly file?: string | undefined;
}

/**
 * The requested sessions as exports: one by its name, or all of them.
 * @param withProof adds what proves that the log holds them, for which all its leaves are read
 * @throws NotFound
 */
export async function* loadExports(
  environment: Environment,
  given: SourceFlags,
  text: string | undefined,
  withProof = false,
): AsyncGenerator<SessionExport> {
  const earlier = given.file === undefined ? undefined : readExport(given.file);
  if (earlier !== undefined) {
    const { id, incident } = earlier.session;
    if (text !== undefined && ![id, incident.name, `${incident.namespace}/${incident.name}`].includes(text)) {
      throw new NotFound(
        `${given.file} contains session ${incident.namespace}/${incident.name} (${id}), not "${text}"`,
      );
    }
    yield earlier;
    return;
  }
  const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
  try {
    // Before the entries, so that the signature never covers more of them than are read.
    const proofs = withProof ? await proofSource(reader) : undefined;
    const load = async (name: string) =>
      await exported(environment, given, reader, await resolved(environment, given, reader, name), proofs);
    if (text !== undefined) {
      yield await load(text);
      return;
    }
    for (const summary of await reader.sessions()) {
      if (given.namespace !== undefined && !given.allNamespaces && summary.incident.namespace !== given.namespace) {
        continue;
      }
      yield await load(summary.session);
    }
  } finally {
    await reader.close();
  }
}

/** Undefined if the log is not signed. */
async function proofSource(reader: AuditReader): Promise<ProofSource | undefined> {
  const signature = await reader.signature();
  return signature?.notes === undefined ? undefined : new ProofSource(signature.notes, signature.leaves);
}

function resolved(environment: Environment, given: SourceFlags, reader: AuditReader, text: string) {
  return resolveSession(text, {
    reader,
    note: environment.output.note,
    // Read only the file: its cluster may no longer exist.
    ...(given.file === undefined
      ? { incidents: environment.incidents(given), namespace: environment.namespace(given) }
      : { namespace: given.namespace }),
  });
}

async function exported(
  environment: Environment,
  given: SourceFlags,
  reader: AuditReader,
  { session, incident, summary }: ResolvedSession,
  proofs: ProofSource | undefined,
): Promise<SessionExport> {
  if (summary === undefined) throw new NotFound(`the log has no entries of session ${session} yet`);
  // Read the Incident before the entries, so that its anchors never exceed them if the session
  // continues.
  const raw =
    incident === undefined
      ? undefined
      : (await environment.incidents(given).get(incident.metadata.namespace ?? '', incident.metadata.name)).raw;
  const entries = await allEntries(reader, session);
  if (entries.length === 0) throw new InvalidInput(`session ${session} has no entries`);
  const blobs = new Map<string, string>();
  for (const { blobDigest } of entries) {
    if (blobDigest === null || blobs.has(blobDigest)) continue;
    const text = await reader.blob(blobDigest);
    if (text !== undefined) blobs.set(blobDigest, text);
  }
  const imported = await reader.importedProof(session);
  return buildExport({
    summary,
    entries,
    blobs,
    incident: raw,
    source: reader.source,
    proof: imported === undefined ? proofs?.proofOf(session) : (imported ?? undefined),
    exportedAt: environment.now(),
    exportedBy: `oplab ${programVersion}`,
  });
}
