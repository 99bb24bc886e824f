// Renders the undo runs that are on record for an Incident.

import { withoutControls } from '../../audit/controls.ts';
import type { ShownRun } from '../changes/undo-record.ts';
import { dateTime } from '../format.ts';
import { wrap } from '../table.ts';

/** The lines of all runs, oldest first. @param runs undefined if the record cannot be read */
export function undoLines(runs: readonly ShownRun[] | undefined, width: number): string[] {
  if (runs === undefined)
    return wrap('the annotation oplab.dev/undo was changed: it holds no record of undo runs', width);
  return runs.flatMap((run) => [
    ...wrap(withoutControls(headline(run)), width),
    ...details(run).flatMap((text) => wrap(withoutControls(text), width - 2).map((line) => `  ${line}`)),
  ]);
}

function headline({ begunAt, by, endedAt, putBack = 0, conflicts = 0, notUndone = 0, failed = 0 }: ShownRun): string {
  const who = by === 'unknown' ? 'somebody unknown' : by;
  const begun = `${dateTime(begunAt)} by ${who}`;
  if (endedAt === undefined) return `${begun}: begun, its end is not on record`;
  const counts = [
    `${putBack} ${putBack === 1 ? 'object' : 'objects'} put back`,
    `${conflicts} ${conflicts === 1 ? 'conflict' : 'conflicts'}`,
    ...(notUndone === 0 ? [] : [`${notUndone} not put back`]),
    ...(failed === 0 ? [] : [`${failed} failed`]),
  ];
  return `${begun}: ${counts.join(', ')}`;
}

function details({ objects, results, endedAt, matchesLog }: ShownRun): string[] {
  const lines = (results ?? []).flatMap(({ object, putBack, conflicts, notUndone, failed }) => [
    ...putBack.map((what) => `put back: ${object}: ${what}`),
    ...(failed === true ? [`failed: ${object}`] : []),
    ...conflicts.map(({ field, why }) => `conflict: ${object}${field === '' ? '' : ` ${field}`}: ${why}`),
    ...notUndone.map(({ what, why }) => `not put back: ${object}: ${what}: ${why}`),
  ]);
  return [
    ...(matchesLog === false ? ['its plan was not made from the log that status.audit names'] : []),
    ...(endedAt === undefined ? objects.map((object) => `may be put back: ${object}`) : lines),
  ];
}
