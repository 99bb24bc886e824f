// The record of an undo: an annotation of the Incident, which no agent may write. It says what was
// begun before anything is put back, and how it ended.

import * as z from 'zod';
import { GROUP } from '../../api/group.ts';
import { textMember } from '../../audit/object-view.ts';

export const UNDO_ANNOTATION = `${GROUP}/undo`;
/** Older runs are dropped. */
const MAX_RUNS = 10;
/** The API server takes 256 KiB of annotations, and others have some as well. */
const MAX_BYTES = 128 * 1024;

const result = z.object({
  object: z.string(),
  /** For example "set /data/a", or "delete" for the whole object. */
  putBack: z.array(z.string()).default([]),
  conflicts: z.array(z.object({ field: z.string(), why: z.string() })).default([]),
  notUndone: z.array(z.object({ what: z.string(), why: z.string() })).default([]),
  /** Only whether: the message of the API server may quote values. */
  failed: z.boolean().optional(),
});

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
  /** Missing in runs of earlier versions, which recorded only the numbers. */
  results: z.array(result).optional(),
});
export type UndoRun = z.infer<typeof run>;

/** The runs on record, oldest first; undefined if the annotation holds something else. */
export function readRuns(incident: unknown): UndoRun[] | undefined {
  const text = textMember(incident, 'metadata', 'annotations', UNDO_ANNOTATION);
  if (text === undefined) return [];
  try {
    return z.array(run).parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** The annotation with a run that has begun or ended. Runs of others may have begun meanwhile. */
export function showRuns(earlier: readonly UndoRun[], changed: UndoRun): string {
  const isSame = ({ begunAt, by, planDigest }: UndoRun) =>
    begunAt === changed.begunAt && by === changed.by && planDigest === changed.planDigest;
  const runs = earlier.some(isSame)
    ? earlier.map((one) => (isSame(one) ? changed : one))
    : [...earlier, changed].slice(-MAX_RUNS);
  while (runs.length > 1 && Buffer.byteLength(JSON.stringify(runs)) > MAX_BYTES) runs.shift();
  return JSON.stringify(runs);
}

/** A run as `oplab incident show` tells it. */
export interface ShownRun extends UndoRun {
  /** Whether its plan was made from the sealed log of the Incident. Undefined if none is named. */
  readonly matchesLog?: boolean;
}

/**
 * The runs of an Incident; undefined if the record cannot be read.
 * @param sealed the hash of the last entry of its sealed log, if the Incident's status names it
 */
export function runsOf(incident: unknown, sealed: string | undefined): ShownRun[] | undefined {
  return readRuns(incident)?.map((one) =>
    sealed === undefined ? one : { ...one, matchesLog: sealed === one.headHash },
  );
}
