// Attacks from inside a real sandbox, by the agent's own shell. Whether one succeeded is judged from
// outside: by what an admin sees in the cluster, and by what the audit log shows. Where a wall can
// be taken away, the same attack is made again without it, and must then succeed.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AttackRow, reportAttacks } from '../support/attack-report.ts';
import { kubectl } from '../support/live.ts';
import { pairAll } from '../support/nothing-unexplained.ts';
import { type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import { cleanUp, runCampaign } from './attacks/campaign.ts';
import { attackNames, judge } from './attacks/judge.ts';

/** The pods of the operator, each with its restarts. */
const readRestarts = () =>
  kubectl(
    '-n',
    'oplab-system',
    'get',
    'pods',
    '-o',
    'jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}{"\\n"}{end}',
  );

describe('an attack from the sandbox', () => {
  let lab: OperatorHarness;
  let rows: readonly AttackRow[] = [];
  let restarts = '';
  let begun: Date;

  beforeAll(async () => {
    lab = await openOperatorHarness();
    begun = new Date();
    restarts = await readRestarts();
    rows = judge(await runCampaign(lab));
    await reportAttacks(rows);
  }, 540_000);

  afterAll(async () => {
    await lab?.close();
    await cleanUp();
  });

  it.each(attackNames)('%s: %s fails', (family, name) => {
    const row = rows.find((candidate) => candidate.family === family && candidate.name === name);
    expect(row, 'the attack was not run').toBeDefined();
    expect(row?.succeeded, JSON.stringify(row, null, 2)).toBe(false);
  });

  it('leaves no write that only one of the two logs has', async () => {
    const { pairs, faults } = await pairAll(begun);
    expect(faults).toEqual([]);
    expect(pairs).toBeGreaterThan(20);
  });

  it('does not make gateway or controller restart', async () => {
    expect(await readRestarts()).toBe(restarts);
  });
});
