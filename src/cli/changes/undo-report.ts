// What an undo says about its plan and its results: as JSON, and in short for the record.

import { sha256 } from '../../audit/hash-chain.ts';
import { describeTarget } from './object-yaml.ts';
import type { ObjectResult } from './undo.ts';
import type { NotUndone, ObjectPlan } from './undo-plan.ts';
import type { UndoRun } from './undo-record.ts';

/** Of one run: the objects that it is about, and what became of each. The counts are complete. */
const MAX_OBJECTS_BYTES = 16 * 1024;
const MAX_RESULTS_BYTES = 32 * 1024;
const MAX_FIELDS = 50;
const MAX_TEXT = 300;

/** What is recorded before anything is put back. */
export function beginRun(
  plans: readonly ObjectPlan[],
  others: readonly NotUndone[],
  facts: Pick<UndoRun, 'begunAt' | 'by' | 'entries' | 'headHash'>,
): UndoRun {
  const objects = plans.filter(({ steps }) => steps.length > 0).map(({ target }) => describeTarget(target));
  return { ...facts, planDigest: sha256(planText(plans, others)), objects: fitting(objects, MAX_OBJECTS_BYTES) };
}

/**
 * A plan, or what became of it, as JSON. That of the plan is what is digested. Members that are
 * missing in a conflict are fields that were not there.
 */
export function planText(plans: readonly ObjectPlan[], others: readonly NotUndone[]): string {
  const objects = plans.map((plan) => ({ object: describeTarget(plan.target), ...plan }));
  return JSON.stringify({ objects, notUndone: others }, null, 2);
}

/** What is recorded at the end. */
export function endRun(begun: UndoRun, results: readonly ObjectResult[], others: number, endedAt: string): UndoRun {
  const sum = (count: (result: ObjectResult) => number) => results.reduce((all, result) => all + count(result), 0);
  return {
    ...begun,
    endedAt,
    putBack: sum(({ done, steps }) => (done && steps.length > 0 ? 1 : 0)),
    conflicts: sum(({ conflicts }) => conflicts.length),
    notUndone: sum(({ notUndone }) => notUndone.length) + others,
    failed: sum(({ failure }) => (failure === undefined ? 0 : 1)),
    results: fitting(results.map(summarize), MAX_RESULTS_BYTES),
  };
}

function summarize({ target, steps, done, restored, conflicts, notUndone, failure }: ObjectResult) {
  const wasPutBack = done && steps.length > 0;
  return {
    object: describeTarget(target),
    putBack: wasPutBack ? restored.slice(0, MAX_FIELDS).map(({ action, field }) => short(`${action} ${field}`)) : [],
    conflicts: conflicts.slice(0, MAX_FIELDS).map(({ field, why }) => ({ field: short(field), why: short(why) })),
    notUndone: notUndone.slice(0, MAX_FIELDS).map(({ what, why }) => ({ what: short(what), why: short(why) })),
    ...(failure === undefined ? {} : { failed: true }),
  };
}

const short = (text: string) => text.trim().slice(0, MAX_TEXT);

/** As many items from the beginning as fit. */
function fitting<T>(items: readonly T[], bytes: number): T[] {
  let left = bytes;
  return items.filter((item) => {
    left -= Buffer.byteLength(JSON.stringify(item)) + 1;
    return left >= 0;
  });
}
