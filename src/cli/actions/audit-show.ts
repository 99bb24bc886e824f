// The command `oplab audit show`.

import type { Command } from 'commander';
import * as z from 'zod';
import { escapeControls, withoutControls } from '../../audit/controls.ts';
import { type Entry, entryKind } from '../../audit/entry.ts';
import { NotFound } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { dateTime } from '../format.ts';
import { type AuditReader, allEntries } from '../reader/audit-reader.ts';
import { entriesText, renderEntry } from '../render/entry.ts';
import { type ResolvedSession, requireNotPruned, resolveSession } from '../resolve-session.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json', 'ndjson']).default('text'),
  file: z.string().optional(),
  full: z.boolean().default(false),
  kind: z.array(entryKind).optional(),
  sinceSeq: z.number().default(0),
});

/** Prints the trail of a session. @throws NotFound */
export async function showTrail(environment: Environment, command: Command, text: string): Promise<void> {
  const given = parseFlags(command, flags);
  const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
  try {
    const resolved = await resolveSession(text, {
      reader,
      note: environment.output.note,
      // Read only the file: its cluster may no longer exist.
      ...(given.file === undefined
        ? { incidents: environment.incidents(given), namespace: environment.namespace(given) }
        : { namespace: given.namespace }),
    });
    if (resolved.summary === undefined) {
      throw new NotFound(`the log has no entries of session ${resolved.session} yet`);
    }
    requireNotPruned(resolved);
    await show(environment, reader, resolved, given);
  } finally {
    await reader.close();
  }
}

async function show(
  { output }: Environment,
  reader: AuditReader,
  { session, summary }: ResolvedSession,
  given: z.infer<typeof flags>,
): Promise<void> {
  const entries = (await allEntries(reader, session, given.sinceSeq)).filter(
    (entry) => given.kind === undefined || given.kind.includes(entry.kind),
  );
  /**
   * The full text; null if it was pruned; undefined if it is not requested or the entry has none.
   */
  const readBlob = async ({ blobDigest }: Entry) =>
    given.full && blobDigest !== null ? ((await reader.blob(blobDigest)) ?? null) : undefined;

  if (given.output === 'ndjson') {
    for (const entry of entries) output.line(escapeControls(JSON.stringify(withBlob(entry, await readBlob(entry)))));
    return;
  }
  if (given.output === 'json') {
    const items: object[] = [];
    for (const entry of entries) items.push(withBlob(entry, await readBlob(entry)));
    output.line(JSON.stringify({ session: summary, items }, null, 2));
    return;
  }
  if (summary !== undefined) {
    const { incident, outcome, sealed, openedAt, lastAt } = summary;
    output.line(output.colors.bold(`${incident.namespace}/${incident.name}: ${withoutControls(summary.summary)}`));
    output.line(`session ${session}, ${entriesText(summary.entries)}, ${sealed ? 'sealed' : 'not sealed'}`);
    output.line(`${dateTime(openedAt)} to ${dateTime(lastAt)}, ${outcome ?? 'no outcome yet'}`);
  }
  output.line();
  let attempt: number | undefined;
  for (const entry of entries) {
    if (entry.attempt !== attempt && entry.attempt > 0) {
      output.line(`\n${output.colors.bold(`Attempt ${entry.attempt}`)}`);
    }
    attempt = entry.attempt > 0 ? entry.attempt : attempt;
    const rendering = { colors: output.colors, width: output.width, blob: await readBlob(entry) };
    for (const line of renderEntry(entry, rendering)) output.line(line);
  }
}

function withBlob(entry: Entry, blob: string | null | undefined): object {
  return blob === undefined ? entry : { ...entry, blob };
}
