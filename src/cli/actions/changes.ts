// The command `oplab changes`.

import type { Command } from 'commander';
import * as z from 'zod';
import { withoutControls, withVisibleEscapes } from '../../audit/controls.ts';
import { type SessionExport, verifyExport } from '../../audit/export.ts';
import type { Anchor } from '../../audit/hash-chain.ts';
import { NotFound, VerificationFailed } from '../../errors.ts';
import { type Change, type ObjectChange, readChanges } from '../changes/change.ts';
import { describeTarget, diffChange, hiddenFields } from '../changes/object-yaml.ts';
import { targetKey } from '../changes/undo-plan.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { dateTime } from '../format.ts';
import type { Output } from '../output.ts';
import { loadExports, type SourceFlags } from '../session-source.ts';

const flags = connectionFlags.extend({
  file: z.string().optional(),
  output: z.enum(['text', 'json', 'patch']).default('text'),
});

/** Prints what a session changed. @throws NotFound, VerificationFailed */
export async function showChanges(environment: Environment, command: Command, text: string): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const session = await loadSession(environment, given, text);
  requireVerified(session, output);
  const changes = await changesOf(session);
  if (given.output === 'json') {
    output.line(JSON.stringify({ session: session.session, items: changes.map(describe) }, null, 2));
    return;
  }
  const byObject = groupByObject(changes);
  if (given.output === 'patch') {
    for (const group of byObject) for (const change of group) for (const line of diffChange(change)) output.line(line);
    return;
  }
  if (changes.length === 0) output.note('No changes are on record.');
  for (const group of byObject) renderGroup(output, group);
  renderOthers(output, changes);
}

/** The session that a command names. @throws NotFound */
export async function loadSession(environment: Environment, given: SourceFlags, text: string): Promise<SessionExport> {
  for await (const session of loadExports(environment, given, text)) return session;
  throw new NotFound(`no session "${text}"`);
}

/** @throws VerificationFailed, after the findings were printed */
export function requireVerified(session: SessionExport, output: Output, anchors: readonly Anchor[] = []): void {
  const { findings } = verifyExport(session, anchors);
  for (const { message } of findings) output.note(withoutControls(message));
  if (findings.length > 0) {
    throw new VerificationFailed(`the record of session ${session.session.id} is not consistent, so it proves nothing`);
  }
}

/** The changes in an export. */
export async function changesOf({ entries, blobs }: SessionExport): Promise<Change[]> {
  return await readChanges(entries, async (digest) => (Object.hasOwn(blobs, digest) ? blobs[digest] : undefined));
}

function describe(change: Change): object {
  return change.type === 'other'
    ? change
    : { ...change, hiddenFields: hiddenFields(change), diff: diffChange(change).join('\n') };
}

/** The changes of each object, oldest first; objects in the order of their first change. */
function groupByObject(changes: readonly Change[]): ObjectChange[][] {
  const groups = new Map<string, ObjectChange[]>();
  for (const change of changes) {
    if (change.type !== 'object') continue;
    const key = targetKey(change.target);
    groups.set(key, [...(groups.get(key) ?? []), change]);
  }
  return [...groups.values()];
}

function renderGroup(output: Output, group: readonly ObjectChange[]): void {
  const { bold, dim, cyan, green, red, yellow } = output.colors;
  const [first] = group;
  if (first === undefined) return;
  output.line(bold(describeTarget(first.target)));
  for (const change of group) {
    const { seq, time, attempt, verb, race } = change;
    output.line(dim(`#${seq}  ${dateTime(time)}  attempt ${attempt}  ${withoutControls(verb)}`));
    if (race !== undefined)
      output.line(yellow(`  ${withoutControls(race)}: the difference may not be the session's alone`));
    const lines = diffChange(change);
    const hidden = hiddenFields(change);
    for (const line of lines) {
      const paint = line.startsWith('@@')
        ? cyan
        : line.startsWith('+')
          ? green
          : line.startsWith('-')
            ? red
            : undefined;
      output.line(paint === undefined ? line : paint(line));
    }
    for (const field of hidden) output.line(yellow(`  ${field} changed; its value is not on record`));
    if (lines.length + hidden.length === 0) output.line(dim('  no difference'));
  }
  output.line();
}

function renderOthers(output: Output, changes: readonly Change[]): void {
  const others = changes.filter((change) => change.type === 'other');
  if (others.length > 0) output.line(output.colors.bold('Writes without a difference'));
  for (const { seq, time, attempt, text, why } of others) {
    output.line(output.colors.dim(`#${seq}  ${dateTime(time)}  attempt ${attempt}`));
    output.line(`  ${withoutControls(withVisibleEscapes(text))}: ${withoutControls(why)}`);
  }
  output.note('Connections over the plain network are on no record, and so not in this list.');
}
