// From what a person types to a session: a session id, a name, or namespace/name; also when the Incident is gone.

import type { Incident } from '../api/incident.ts';
import type { SessionSummary } from '../audit/log.ts';
import { InvalidInput, NotFound } from '../errors.ts';
import type { Incidents } from './incidents.ts';
import type { AuditReader } from './reader/audit-reader.ts';

const UID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export interface ResolveOptions {
  readonly reader: AuditReader;
  /** Left out when only a file is asked. */
  readonly incidents?: Incidents;
  /** Undefined: any namespace, which only works by the log itself. */
  readonly namespace: string | undefined;
  readonly note: (text: string) => void;
}

export interface ResolvedSession {
  readonly session: string;
  /** Undefined when it is gone, or the cluster was not asked. */
  readonly incident: Incident | undefined;
  /** Undefined when the log has nothing of it. */
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
    throw new InvalidInput(`"${text}" is no name: write NAME, NAMESPACE/NAME, or the id of a session`);
  }
  return second === undefined ? { namespace, name: first } : { namespace: first, name: second };
}

/** @throws NotFound */
export async function resolveSession(text: string, options: ResolveOptions): Promise<ResolvedSession> {
  const { reader, incidents, note } = options;
  if (UID.test(text)) {
    const summary = await reader.session(text);
    if (summary === undefined) throw new NotFound(`the log (${reader.source}) has no session ${text}`);
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
      `neither an Incident nor a session in the log (${reader.source}) is named "${name}"${where}; see: oplab audit list`,
    );
  }
  if (earlier.length > 0) {
    note(
      `"${name}" has ${past.length} sessions; this is the latest. Others: ${earlier.map((summary) => summary.session).join(', ')}`,
    );
  }
  return { session: latest.session, incident: undefined, summary: latest };
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
