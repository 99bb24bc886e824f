// The record of an undo: an annotation of the Incident, which no agent may write. It says what was
// begun before anything is put back, and how it ended.

import { z } from 'zod';
import { GROUP } from '../../api/group.ts';
import { sha256 } from '../../audit/hash-chain.ts';
import { textMember } from '../../audit/object-view.ts';
import { describeTarget } from './object-yaml.ts';
import type { ObjectResult } from './undo.ts';
import type { ObjectPlan } from './undo-plan.ts';

export const UNDO_ANNOTATION = `${GROUP}/undo`;
/** Older runs are dropped; the API server takes 256 KiB of annotations. */
const MAX_RUNS = 10;
const MAX_OBJECTS = 100;

const run = z.object({
  begunAt: z.string(),
  by: z.string(),
  /** The log from which the plan was made. */
  entries: z.number(),
  headHash: z.string(),
  /** SHA-256 of the plan as JSON, as `oplab undo --dry-run -o json` prints it. */
  planDigest: z.string(),
  objects: z.array(z.string()),
  /** Missing: it was begun and has not ended. */
  endedAt: z.string().optional(),
  putBack: z.number().optional(),
  conflicts: z.number().optional(),
  notUndone: z.number().optional(),
  failed: z.number().optional(),
});
export type UndoRun = z.infer<typeof run>;

/** The runs on record, oldest first. */
export function readRuns(incident: unknown): UndoRun[] {
  const text = textMember(incident, 'metadata', 'annotations', UNDO_ANNOTATION);
  if (text === undefined) return [];
  try {
    return z.array(run).parse(JSON.parse(text));
  } catch {
    // Somebody wrote something else into it. The next run replaces that.
    return [];
  }
}

/** The annotation with one more run, or with the last one replaced. */
export function showRuns(earlier: readonly UndoRun[], last: UndoRun): string {
  return JSON.stringify([...earlier, last].slice(-MAX_RUNS));
}

export function beginRun(
  plans: readonly ObjectPlan[],
  facts: Pick<UndoRun, 'begunAt' | 'by' | 'entries' | 'headHash'>,
): UndoRun {
  const objects = plans.filter(({ steps }) => steps.length > 0).map(({ target }) => describeTarget(target));
  return { ...facts, planDigest: sha256(planText(plans)), objects: objects.slice(0, MAX_OBJECTS) };
}

/** The plan as it is printed and digested. */
export function planText(plans: readonly ObjectPlan[]): string {
  return JSON.stringify({ objects: plans }, null, 2);
}

export function endRun(begun: UndoRun, results: readonly ObjectResult[], others: number, endedAt: string): UndoRun {
  const sum = (count: (result: ObjectResult) => number) => results.reduce((all, result) => all + count(result), 0);
  return {
    ...begun,
    endedAt,
    putBack: sum(({ done, steps }) => (done && steps.length > 0 ? 1 : 0)),
    conflicts: sum(({ conflicts }) => conflicts.length),
    notUndone: sum(({ notUndone }) => notUndone.length) + others,
    failed: sum(({ failure }) => (failure === undefined ? 0 : 1)),
  };
}
