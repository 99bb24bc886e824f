// The command `oplab audit tail`.

import type { Command } from 'commander';
import * as z from 'zod';
import { escapeControls, withoutControls } from '../../audit/controls.ts';
import { type Entry, entryKind } from '../../audit/entry.ts';
import type { SessionSummary } from '../../audit/log.ts';
import { InvalidInput } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { untilInterrupted } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { type AuditReader, allEntries, type Waiting } from '../reader/audit-reader.ts';
import { renderEntry } from '../render/entry.ts';
import { requireNotPruned, resolveSession } from '../resolve-session.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json', 'ndjson']).default('text'),
  tail: z.number().optional(),
  /** Milliseconds. */
  since: z.number().optional(),
  keep: z.boolean().default(false),
  kind: z.array(entryKind).optional(),
  file: z.string().optional(),
});
type Flags = z.infer<typeof flags>;

const DEFAULT_TAIL = 10;

/** A session that is followed. */
interface Followed {
  readonly session: string;
  readonly incident: { readonly namespace: string; readonly name: string };
  /** How many entries it had when it was found. */
  readonly entries: number;
}

/** What to follow. */
interface Selection {
  readonly first: readonly Followed[];
  /** How many leaves the log had before the sessions were listed. */
  readonly leaves: number;
  /** Which sessions to follow that are opened later. Undefined: none. */
  readonly isWanted: ((incident: Followed['incident']) => boolean) | undefined;
}

/** Prints entries as they are recorded. @throws InvalidInput, NotFound */
export async function tailAudit(environment: Environment, command: Command, text: string | undefined): Promise<void> {
  const given = parseFlags(command, flags);
  if (text !== undefined && given.allNamespaces) throw new InvalidInput('name a session or use -A, not both');
  if (given.keep && text === undefined) throw new InvalidInput('--keep needs the name of an Incident');
  if (given.keep && given.file !== undefined) throw new InvalidInput('--keep and --file: nobody writes to the file');
  await untilInterrupted(async (signal) => {
    const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
    try {
      const selection = await (text === undefined
        ? selectAll(environment, given, reader)
        : selectOne(environment, given, reader, text));
      await followAll(reader, selection, given, new Printer(environment, given, text === undefined), signal);
    } finally {
      await reader.close();
    }
  });
}

async function selectOne(
  environment: Environment,
  given: Flags,
  reader: AuditReader,
  text: string,
): Promise<Selection> {
  const leaves = given.keep ? await countLeaves(reader) : 0;
  const found = await resolveSession(text, {
    reader,
    note: environment.output.note,
    // Read only the file: its cluster may no longer exist.
    ...(given.file === undefined
      ? { incidents: environment.incidents(given), namespace: environment.namespace(given) }
      : { namespace: given.namespace }),
  });
  requireNotPruned(found);
  const { namespace = '', name = '' } = found.incident?.metadata ?? found.summary?.incident ?? {};
  return {
    first: [{ session: found.session, incident: { namespace, name }, entries: found.summary?.entries ?? 0 }],
    leaves,
    isWanted: given.keep ? (other) => other.namespace === namespace && other.name === name : undefined,
  };
}

async function selectAll(environment: Environment, given: Flags, reader: AuditReader): Promise<Selection> {
  const namespace = given.file === undefined ? environment.namespace(given) : given.namespace;
  const isWanted = (incident: Followed['incident']) =>
    given.allNamespaces || namespace === undefined || incident.namespace === namespace;
  // The leaves first: a session that is opened meanwhile shows in both, and is followed once.
  const leaves = await countLeaves(reader);
  const since = startOf(environment, given);
  const isShown = ({ sealed, prunedAt, lastAt, incident }: SessionSummary) =>
    prunedAt === undefined &&
    isWanted(incident) &&
    (!sealed || given.file !== undefined || (since !== undefined && lastAt >= since));
  return { first: (await reader.sessions()).filter(isShown), leaves, isWanted };
}

async function countLeaves(reader: AuditReader): Promise<number> {
  return (await reader.leaves(0))?.length ?? 0;
}

function startOf(environment: Environment, { since }: Flags): string | undefined {
  return since === undefined ? undefined : new Date(environment.now().getTime() - since).toISOString();
}

/** Follows all sessions at the same time until they are sealed, or the signal aborts. */
async function followAll(
  reader: AuditReader,
  { first, leaves, isWanted }: Selection,
  given: Flags,
  printer: Printer,
  outer: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  const known = new Set(first.map(({ session }) => session));
  const running = new Set<Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const start = (work: () => Promise<void>) => {
    const run = work()
      .catch((error: unknown) => {
        failure ??= { error };
        stop.abort();
      })
      .finally(() => running.delete(run));
    running.add(run);
  };
  const follow = async (one: Followed, afterSeq: number) => {
    for await (const event of reader.follow(one.session, { afterSeq, signal })) {
      if (event.type === 'entry') printer.show(one, event.entry);
      else if (event.type === 'waiting') printer.wait(event);
    }
  };
  const starts = await printer.begin(reader, first, given);
  for (const one of first) start(() => follow(one, starts.get(one.session) ?? 0));
  if (isWanted !== undefined) {
    start(async () => {
      for await (const event of reader.openings(leaves, signal)) {
        if (event.type === 'waiting') printer.wait(event);
        else if (!known.has(event.summary.session) && isWanted(event.summary.incident)) {
          known.add(event.summary.session);
          start(() => follow(event.summary, 0));
        }
      }
    });
  }
  while (running.size > 0) await Promise.all(running);
  if (failure !== undefined) throw failure.error;
}

/** Prints entries of several sessions. */
class Printer {
  readonly #output: Output;
  readonly #given: Flags;
  readonly #since: string | undefined;
  /** Whether each line names its Incident. */
  readonly #isNamed: boolean;
  #waiting = '';

  constructor(environment: Environment, given: Flags, isNamed: boolean) {
    this.#output = environment.output;
    this.#given = given;
    this.#since = startOf(environment, given);
    this.#isNamed = isNamed;
  }

  /**
   * Prints the end of what is on record, of all sessions by time.
   * @returns the number of the last entry of each session that was read
   */
  async begin(reader: AuditReader, sessions: readonly Followed[], given: Flags): Promise<Map<string, number>> {
    const { kind, tail = this.#since === undefined ? DEFAULT_TAIL : -1 } = given;
    // Which entries match is not known before they are read.
    const isFiltered = tail < 0 || kind !== undefined || this.#since !== undefined;
    const last = new Map<string, number>();
    const found: { readonly of: Followed; readonly entry: Entry; readonly time: string }[] = [];
    for (const of of sessions) {
      const from = isFiltered ? 0 : Math.max(0, of.entries - tail);
      const entries = of.entries === 0 ? [] : await allEntries(reader, of.session, from);
      last.set(of.session, entries.at(-1)?.seq ?? from);
      const matching = entries.filter((entry) => this.#matches(entry) && entry.time >= (this.#since ?? ''));
      // A clock may have been set back, but the order of a session stays.
      let time = '';
      for (const entry of tail < 0 ? matching : matching.slice(Math.max(0, matching.length - tail))) {
        time = entry.time > time ? entry.time : time;
        found.push({ of, entry, time });
      }
    }
    found.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    for (const { of, entry } of found) this.show(of, entry);
    return last;
  }

  show({ incident }: Followed, entry: Entry): void {
    this.#waiting = '';
    if (!this.#matches(entry)) return;
    const { colors, width, line } = this.#output;
    const { namespace, name } = incident;
    if (this.#given.output !== 'text') {
      line(escapeControls(JSON.stringify({ incident: { namespace, name }, ...entry })));
      return;
    }
    const isNamespaceKnown = !this.#given.allNamespaces && this.#given.file === undefined;
    const named = withoutControls(isNamespaceKnown ? name : `${namespace}/${name}`);
    const prefix = this.#isNamed ? `${named}  ` : '';
    for (const text of renderEntry(entry, { colors, width: Math.max(40, width - prefix.length) })) {
      line(`${colors.cyan(prefix)}${text}`);
    }
  }

  /** Says once why nothing arrives, for all sessions. */
  wait({ reason }: Waiting): void {
    if (reason !== this.#waiting) this.#output.note(`waiting: ${withoutControls(reason)}`);
    this.#waiting = reason;
  }

  #matches({ kind }: Entry): boolean {
    return this.#given.kind === undefined || this.#given.kind.includes(kind);
  }
}
