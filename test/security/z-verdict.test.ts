// The verdict over all attacks of this run. Files run in the order of their names, so this is last.

import { expect, it } from 'vitest';
import { countAttacks, readAttacks } from '../support/attack-report.ts';

it('at least 100 attacks were run, none succeeded, and 30 succeed once their wall is taken away', async () => {
  const rows = await readAttacks();
  const totals = countAttacks(rows);
  expect(rows.filter((row) => row.succeeded)).toEqual([]);
  expect(totals.attacks).toBeGreaterThanOrEqual(100);
  expect(totals.proven).toBeGreaterThanOrEqual(30);
});
