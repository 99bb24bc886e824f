// The command `oplab audit search`.

import type { Command } from 'commander';
import * as z from 'zod';
import { escapeControls, withoutControls } from '../../audit/controls.ts';
import { type Entry, entryKind } from '../../audit/entry.ts';
import { entryText } from '../../audit/excerpt.ts';
import type { SessionSummary } from '../../audit/log.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { dateTime } from '../format.ts';
import type { AuditReader } from '../reader/audit-reader.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'ndjson']).default('text'),
  file: z.string().optional(),
  tool: z.string().optional(),
  kind: z.array(entryKind).optional(),
  /** Milliseconds. */
  since: z.number().optional(),
  full: z.boolean().default(false),
});
type Flags = z.infer<typeof flags>;

const PAGE = 500;

/** Prints the entries that match all conditions, session by session. */
export async function searchAudit(environment: Environment, command: Command, text: string | undefined): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const since =
    given.since === undefined ? undefined : new Date(environment.now().getTime() - given.since).toISOString();
  const wanted = text?.toLowerCase();
  const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
  let found = 0;
  try {
    for (const session of await reader.sessions()) {
      if (!mayMatch(session, given, since)) continue;
      for await (const entry of pages(reader, session.session)) {
        if (!(await matches(reader, entry, given, since, wanted))) continue;
        found += 1;
        if (given.output === 'ndjson') output.line(escapeControls(JSON.stringify(entry)));
        else output.line(oneLine(session, entry));
      }
    }
  } finally {
    await reader.close();
  }
  if (found === 0) output.note('No entries found.');
}

function mayMatch(session: SessionSummary, given: Flags, since: string | undefined): boolean {
  if (session.prunedAt !== undefined) return false;
  if (since !== undefined && session.lastAt < since) return false;
  return given.namespace === undefined || given.allNamespaces || session.incident.namespace === given.namespace;
}

async function* pages(reader: AuditReader, session: string): AsyncGenerator<Entry> {
  for (let afterSeq = 0; ; ) {
    const page = await reader.entries(session, { afterSeq, limit: PAGE });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return;
    afterSeq = last.seq;
  }
}

async function matches(
  reader: AuditReader,
  entry: Entry,
  { tool, kind, full }: Flags,
  since: string | undefined,
  wanted: string | undefined,
): Promise<boolean> {
  if (since !== undefined && entry.time < since) return false;
  if (tool !== undefined && entry.tool !== tool) return false;
  if (kind !== undefined && !kind.includes(entry.kind)) return false;
  if (wanted === undefined) return true;
  if (strings(entry.params).some((one) => one.toLowerCase().includes(wanted))) return true;
  if (entry.content.toLowerCase().includes(wanted) || entry.tool?.toLowerCase().includes(wanted)) return true;
  if (!full || entry.blobDigest === null) return false;
  return (await reader.blob(entry.blobDigest))?.toLowerCase().includes(wanted) === true;
}

/** All texts in params. Not their JSON, in which a quote would have a backslash. */
function strings(value: Entry['params']): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value === 'number') return [String(value)];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(strings);
}

function oneLine({ incident }: SessionSummary, entry: Entry): string {
  const text = withoutControls(entryText(entry)).replaceAll(/\s+/g, ' ').trim();
  const tool = entry.tool === null ? '' : ` ${withoutControls(entry.tool)}`;
  return `${dateTime(entry.time)}  ${incident.namespace}/${incident.name} ${entry.seq}  ${entry.kind}${tool}  ${text}`;
}
