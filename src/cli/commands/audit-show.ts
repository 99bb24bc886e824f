// oplab audit show

import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { type Entry, type EntryKind, entryKind } from '../../audit/entry.ts';
import { withoutControls } from '../../audit/excerpt.ts';
import { NotFound } from '../../errors.ts';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { dateTime } from '../format.ts';
import { type AuditReader, allEntries } from '../reader/audit-reader.ts';
import { entriesText, renderEntry } from '../render/entry.ts';
import { type ResolvedSession, resolveSession } from '../resolve-session.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json', 'ndjson']).default('text'),
  file: z.string().optional(),
  full: z.boolean().default(false),
  kind: z.array(entryKind).optional(),
  sinceSeq: z.number().default(0),
});

const EXAMPLES = `
Examples:
  oplab audit show tikv-store-down -n tikv           reasoning, commands, results and changes
  oplab audit show tikv-store-down -n tikv --full    with the complete output of each command
  oplab audit show tikv/tikv-store-down --kind tool_call,kube_intent
  oplab audit show 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11 --file audit.db -o ndjson`;

/** Adds the command to its parent. */
export function addAuditShow(parent: Command, environment: Environment): void {
  parent
    .command('show')
    .description('show the trail of a session, given its id or the name of its Incident')
    .argument('<session>', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--full', 'include full texts: command output and bodies of writes')
    .option('--kind <kinds>', `only these kinds, separated by commas: ${entryKind.options.join(', ')}`, parseKinds)
    .option('--since-seq <seq>', 'only entries after this number', parseSeq, 0)
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'ndjson']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const given = flagsOf(command, flags);
      const reader = given.file === undefined ? environment.gateway(given) : environment.file(given.file);
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
        await show(environment, reader, resolved, given);
      } finally {
        await reader.close();
      }
    });
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
  const blobOf = async ({ blobDigest }: Entry) =>
    given.full && blobDigest !== null ? ((await reader.blob(blobDigest)) ?? null) : undefined;

  if (given.output === 'ndjson') {
    for (const entry of entries) output.line(JSON.stringify(withBlob(entry, await blobOf(entry))));
    return;
  }
  if (given.output === 'json') {
    const items: object[] = [];
    for (const entry of entries) items.push(withBlob(entry, await blobOf(entry)));
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
    const rendering = { colors: output.colors, width: output.width, blob: await blobOf(entry) };
    for (const line of renderEntry(entry, rendering)) output.line(line);
  }
}

function withBlob(entry: Entry, blob: string | null | undefined): object {
  return blob === undefined ? entry : { ...entry, blob };
}

/** @throws InvalidArgumentError for a kind that does not exist */
function parseKinds(text: string, earlier: EntryKind[] | undefined): EntryKind[] {
  const kinds = text.split(',').map((name) => {
    const kind = entryKind.safeParse(name.trim());
    if (!kind.success)
      throw new InvalidArgumentError(`"${name}" is not an entry kind; valid kinds: ${entryKind.options.join(', ')}`);
    return kind.data;
  });
  return [...(earlier ?? []), ...kinds];
}

/** @throws InvalidArgumentError */
function parseSeq(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('must be a non-negative integer');
  return value;
}
