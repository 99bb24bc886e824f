// Finds a session by id, name or namespace/name, even if its Incident no longer exists.

import type { Incident } from '../api/incident.ts';
import type { SessionSummary } from '../audit/log.ts';
import { InvalidInput, NotFound } from '../errors.ts';
import type { Incidents } from './incidents.ts';
import type { AuditReader } from './reader/audit-reader.ts';

const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export interface ResolveOptions {
  readonly reader: AuditReader;
  /** Omitted if only a file is read. */
  readonly incidents?: Incidents;
  /** Undefined means any namespace; then only the log is searched. */
  readonly namespace: string | undefined;
  readonly note: (text: string) => void;
}

export interface ResolvedSession {
  readonly session: string;
  /** Undefined if it no longer exists, or if the cluster was not queried. */
  readonly incident: Incident | undefined;
  /** Undefined if the log has no entries of the session. */
  readonly summary: SessionSummary | undefined;
}

/** Splits namespace/name. @throws InvalidInput */
export function parseName(
  text: string,
  namespace: string | undefined,
): { namespace: string | undefined; name: string } {
  const parts = text.split('/');
  const [first = '', second] = parts;
  if (parts.length > 2 || first === '' || second === '') {
    throw new InvalidInput(`"${text}" is not a valid name; use NAME, NAMESPACE/NAME, or the id of a session`);
  }
  return second === undefined ? { namespace, name: first } : { namespace: first, name: second };
}

/** @throws NotFound */
export async function resolveSession(text: string, options: ResolveOptions): Promise<ResolvedSession> {
  const { reader, incidents, note } = options;
  if (UID.test(text)) {
    const summary = await reader.session(text);
    if (summary === undefined) throw new NotFound(`session ${text} not found in the log (${reader.source})`);
    const { namespace, name } = summary.incident;
    const incident = name === '' ? undefined : await present(incidents, namespace, name);
    return { session: text, incident: incident?.metadata.uid === text ? incident : undefined, summary };
  }
  const { namespace, name } = parseName(text, options.namespace);
  const incident = namespace === undefined ? undefined : await present(incidents, namespace, name);
  if (incident !== undefined) {
    const session = incident.metadata.uid;
    return { session, incident, summary: await reader.session(session) };
  }
  const past = (await reader.sessions())
    .filter(
      (summary) =>
        summary.incident.name === name && (namespace === undefined || summary.incident.namespace === namespace),
    )
    .sort((a, b) => b.openedAt.localeCompare(a.openedAt));
  const [latest, ...earlier] = past;
  if (latest === undefined) {
    const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
    throw new NotFound(
      `no Incident and no session in the log (${reader.source}) is named "${name}"${where}; to list sessions: oplab audit list`,
    );
  }
  if (earlier.length > 0) {
    note(
      `"${name}" has ${past.length} sessions; using the latest. Others: ${earlier.map((summary) => summary.session).join(', ')}`,
    );
  }
  return { session: latest.session, incident: undefined, summary: latest };
}

/** @throws NotFound if the entries were deleted by a prune */
export function requireNotPruned({ session, summary }: ResolvedSession): void {
  if (summary?.prunedAt === undefined) return;
  const { prunedAt, entries, headHash } = summary;
  throw new NotFound(
    `the ${entries} entries of session ${session} were pruned on ${prunedAt.slice(0, 10)}; their head was ${headHash}`,
  );
}

async function present(
  incidents: Incidents | undefined,
  namespace: string,
  name: string,
): Promise<Incident | undefined> {
  try {
    return (await incidents?.get(namespace, name))?.incident;
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}
