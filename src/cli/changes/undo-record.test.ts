// The size of an undo's record, and which run a write replaces.

import { expect, it } from 'vitest';
import type { ObjectResult } from './undo.ts';
import { readRuns, showRuns, UNDO_ANNOTATION, type UndoRun } from './undo-record.ts';
import { beginRun, endRun } from './undo-report.ts';

/** What the API server takes of all annotations together is twice as much. */
const MAX_BYTES = 128 * 1024;
const why = 'somebody else changed it since';
const field = `/data/${'k'.repeat(240)}`;

const result = (index: number): ObjectResult => ({
  target: { group: '', version: 'v1', resource: 'configmaps', namespace: 'ns', name: `${'x'.repeat(240)}${index}` },
  steps: [{ type: 'delete', uid: 'u', resourceVersion: '1' }],
  restored: [{ seq: 1, action: 'delete', part: 'main', field: '', why: '' }],
  conflicts: Array.from({ length: 90 }, (_, seq) => ({ seq, field, why, before: 'b', ours: 'o', present: 'p' })),
  notUndone: [],
  done: true,
});
const results = Array.from({ length: 400 }, (_, index) => result(index));
const runAt = (begunAt: string): UndoRun =>
  endRun(beginRun(results, [], { begunAt, by: 'alice', entries: 9, headHash: 'h' }), results, 0, begunAt);
const times = Array.from({ length: 8 }, (_, index) => `2026-01-01T00:00:0${index}Z`);

it('keeps the newest runs that fit far below what the API server takes, with complete counts', () => {
  const text = times.reduce((earlier, time) => showRuns(JSON.parse(earlier), runAt(time)), '[]');
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_BYTES);
  const runs = readRuns({ metadata: { annotations: { [UNDO_ANNOTATION]: text } } }) ?? [];
  expect(runs.length).toBeGreaterThan(1);
  expect(runs.map(({ begunAt }) => begunAt)).toEqual(times.slice(-runs.length));
  expect(runs.at(-1)).toMatchObject({ putBack: 400, conflicts: 36_000 });
  expect(runs.at(-1)?.results?.length).toBeGreaterThan(0);
});

it('records fields, and no values', () => {
  const [shown] = runAt('2026-01-01T00:00:00Z').results ?? [];
  expect(shown?.conflicts[0]).toEqual({ field, why });
});
