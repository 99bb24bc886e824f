// The command `oplab undo`.

import type { Command } from 'commander';
import * as z from 'zod';
import type { Incident } from '../../api/incident.ts';
import { escapeControls, withoutControls, withVisibleEscapes } from '../../audit/controls.ts';
import type { SessionExport } from '../../audit/export.ts';
import { isMap } from '../../audit/object-view.ts';
import { statusAnchors } from '../../audit/verify.ts';
import { NotAllowed, NotFound, UndoIncomplete } from '../../errors.ts';
import { isConflict } from '../../kube/errors.ts';
import { describeTarget } from '../changes/object-yaml.ts';
import { isIncomplete, type ObjectResult, otherChanges, planUndo, runUndo } from '../changes/undo.ts';
import type { Conflict, NotUndone, ObjectPlan, Restored } from '../changes/undo-plan.ts';
import { readRuns, showRuns, UNDO_ANNOTATION, type UndoRun } from '../changes/undo-record.ts';
import { beginRun, endRun, planText } from '../changes/undo-report.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import type { Output } from '../output.ts';
import { changesOf, loadSession, requireVerified } from './changes.ts';

const flags = connectionFlags.extend({
  file: z.string().optional(),
  output: z.enum(['text', 'json']).default('text'),
  dryRun: z.boolean().default(false),
  yes: z.boolean().default(false),
});
type Flags = z.infer<typeof flags>;

/** Characters of a value that the plan for people shows. */
const MAX_SHOWN = 500;

/** How often a record is tried while others write to the Incident. */
const RECORD_TRIES = 5;

/**
 * Puts back what a session changed.
 * @throws UndoIncomplete if something is left as it is; VerificationFailed, NotFound, NotAllowed
 */
export async function undoSession(environment: Environment, command: Command, text: string): Promise<void> {
  const given = parseFlags(command, flags);
  const session = await loadSession(environment, given, text);
  const incident = await findIncident(environment, given, session);
  const anchors = statusAnchors(incident.status?.audit);
  requireVerified(session, environment.output, anchors);
  const changes = await changesOf(session);
  const objects = environment.objects(given);
  const plans = await planUndo(changes, objects);
  const others = otherChanges(changes);
  const planned = plans.map((plan) => ({ ...plan, done: false }));
  if (given.dryRun) {
    if (given.output === 'json') environment.output.line(planText(plans, others));
    else render(environment.output, planned, others, true);
    requireComplete(planned, others);
    return;
  }
  if (!session.session.sealed) {
    throw new NotAllowed('the session is still open: cancel the Incident, wait until it has ended, and try again');
  }
  // Rows and a seal can be added to a running log by whoever makes the file, and its chain holds.
  if (!anchors.some(({ sealed }) => sealed)) {
    throw new NotAllowed(
      `the status of the Incident does not name the last hash of its sealed log, so nothing proves that this record is its own; if the session has just ended, try again in a few seconds`,
    );
  }
  if (plans.every(({ steps }) => steps.length === 0)) {
    const idle = plans.map((plan) => ({ ...plan, done: true }));
    report(environment.output, given, idle, others);
    requireComplete(idle, others);
    return;
  }
  if (!given.yes) {
    render(besideResult(environment.output, given), planned, others, true);
    if (!(await environment.confirm('Put this back?'))) {
      environment.output.note('nothing was put back');
      return;
    }
  }
  const results = await runOnRecord(environment, given, session, plans, others);
  report(environment.output, given, results, others);
  requireComplete(results, others);
}

/** The session's own Incident, which keeps the record of the undo. */
async function findIncident(environment: Environment, given: Flags, { session }: SessionExport): Promise<Incident> {
  const { namespace, name } = session.incident;
  const gone = `the Incident ${namespace}/${name} of this session no longer exists, so an undo cannot go on record`;
  try {
    const { incident } = await environment.incidents(given).get(namespace, name);
    if (incident.metadata.uid === session.id) return incident;
  } catch (error) {
    if (!(error instanceof NotFound)) throw error;
  }
  throw new NotAllowed(`${gone}; see oplab changes -o patch for what to put back by hand`);
}

/** Records what is begun, acts, and records how it ended. */
async function runOnRecord(
  environment: Environment,
  given: Flags,
  { session }: SessionExport,
  plans: readonly ObjectPlan[],
  others: readonly NotUndone[],
): Promise<ObjectResult[]> {
  const objects = environment.objects(given);
  const { namespace, name } = session.incident;
  const record = async (show: (earlier: UndoRun[]) => string) => {
    for (let left = RECORD_TRIES; ; left -= 1) {
      const { raw } = await environment.incidents(given).get(namespace, name);
      if (!isMap(raw)) throw new NotAllowed(`the Incident ${namespace}/${name} cannot be read`);
      try {
        await objects.annotateIncident(raw, UNDO_ANNOTATION, show(readRuns(raw) ?? []));
        return;
      } catch (error) {
        // The controller or somebody else has written to the Incident.
        if (!isConflict(error) || left === 1) throw error;
      }
    }
  };
  const begun = beginRun(plans, others, {
    begunAt: environment.now().toISOString(),
    by: await objects.whoAmI(),
    entries: session.entries,
    headHash: session.headHash,
  });
  await record((earlier) => showRuns(earlier, begun));
  const results = await runUndo(plans, objects);
  const ended = endRun(begun, results, others.length, environment.now().toISOString());
  await record((earlier) => showRuns(earlier, ended));
  return results;
}

/** Where the question and its plan go, so that stdout holds only the result as JSON. */
function besideResult(output: Output, { output: format }: Flags): Output {
  return format === 'json' ? { ...output, line: (text = '') => output.note(text) } : output;
}

/** @throws UndoIncomplete */
function requireComplete(results: readonly ObjectResult[], others: readonly NotUndone[]): void {
  if (!isIncomplete(results, others)) return;
  throw new UndoIncomplete('something is left as it is; see the list above');
}

function report(output: Output, given: Flags, results: readonly ObjectResult[], others: readonly NotUndone[]): void {
  if (given.output === 'json') output.line(planText(results, others));
  else render(output, results, others, false);
}

function render(output: Output, results: readonly ObjectResult[], others: readonly NotUndone[], isPlan: boolean): void {
  const { bold, green, red, yellow } = output.colors;
  if (results.length + others.length === 0) output.note('There is nothing to put back.');
  for (const { target, restored, steps, conflicts, notUndone, failure, done } of results) {
    output.line(bold(describeTarget(target)));
    if (steps.length === 0 && conflicts.length + notUndone.length === 0) output.line('  is as it was before');
    if (steps.length > 0 && (isPlan || done)) {
      for (const one of restored) output.line(green(`  ${isPlan ? 'would be ' : ''}${showRestored(one)}`));
    }
    if (failure !== undefined) output.line(red(`  not put back: ${withoutControls(failure)}`));
    for (const conflict of conflicts) for (const line of showConflict(conflict)) output.line(yellow(`  ${line}`));
    for (const { seq, what, why } of notUndone) {
      output.line(yellow(`  not put back: ${withoutControls(what)} (#${seq}): ${withoutControls(why)}`));
    }
  }
  if (others.length > 0) output.line(bold('Cannot be put back'));
  for (const { seq, what, why } of others)
    output.line(yellow(`  #${seq} ${withoutControls(withVisibleEscapes(what))}: ${withoutControls(why)}`));
}

const PAST = { set: 'set', remove: 'removed', create: 'created again', delete: 'deleted' };

function showRestored({ seq, action, field, value, why }: Restored): string {
  const what = field === '' ? '' : `${withoutControls(field)} `;
  const to = action === 'set' ? ` to ${showValue(value)}` : '';
  return `put back: ${what}${PAST[action]}${to} (#${seq}): ${why}`;
}

function showValue(value: unknown): string {
  if (value === undefined) return 'not there';
  const text = escapeControls(JSON.stringify(value));
  const rest = text.length - MAX_SHOWN;
  return rest <= 0 ? text : `${text.slice(0, MAX_SHOWN)}… (and ${rest} more characters: see -o json)`;
}

function showConflict({ seq, field, before, ours, present, why }: Conflict): string[] {
  const place = field === '' ? 'the object' : withoutControls(field);
  return [
    `conflict: ${place} (#${seq}): ${withoutControls(why)}`,
    ...(field === ''
      ? []
      : [`  before:  ${showValue(before)}`, `  session: ${showValue(ours)}`, `  present: ${showValue(present)}`]),
  ];
}
