// The lifecycle entries that the log itself interprets: opened, outcome and sealed.

import * as z from 'zod';
import type { NewEntry } from './entry.ts';

/** `params` of the entry that opens a session. Only an entry of the gateway counts. */
export const openedParams = z.looseObject({
  event: z.literal('opened'),
  incident: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  summary: z.string(),
});
export type OpenedParams = z.infer<typeof openedParams>;

/** The event that closes a session. `seal` sets `params.event` to it. */
export const SEALED_EVENT = 'sealed';

/** The event of a lifecycle entry, or undefined for other kinds. */
export function lifecycleEvent(entry: { kind: string; params?: unknown }): string | undefined {
  if (entry.kind !== 'lifecycle') return undefined;
  const parsed = z.looseObject({ event: z.string() }).safeParse(entry.params);
  return parsed.success ? parsed.data.event : undefined;
}

/** The first entry of a session. It names the Incident. */
export function openedEntry(
  incident: { namespace: string; name: string; uid: string },
  summary: string,
  details: Record<string, NewEntry['params']> = {},
): NewEntry {
  return {
    clientKey: 'opened',
    kind: 'lifecycle',
    params: {
      ...details,
      event: 'opened',
      incident: { namespace: incident.namespace, name: incident.name, uid: incident.uid },
      summary,
    },
    content: `Incident ${incident.namespace}/${incident.name}: ${summary}`,
  };
}

/** The entry with the Incident's outcome, which is its final phase or Deleted. */
export function outcomeEntry(outcome: string, message: string): NewEntry {
  return {
    clientKey: 'outcome',
    kind: 'lifecycle',
    params: { event: 'outcome', outcome },
    content: message === '' || message.startsWith(outcome) ? message || outcome : `${outcome}: ${message}`,
  };
}

/** The last entry of a session, for `AuditLog.seal`. */
export function sealEntry(outcome: string): NewEntry {
  return {
    clientKey: 'sealed',
    kind: 'lifecycle',
    params: { event: SEALED_EVENT, outcome },
    content: `sealed: ${outcome}`,
  };
}
