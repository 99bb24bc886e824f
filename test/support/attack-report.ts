// The rows of reports/attacks.json: each attack of test/security, what it did, and whether it could
// have succeeded.

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';

const root = path.dirname(path.dirname(import.meta.dirname));
export const ATTACK_REPORT = path.join(root, 'reports/attacks.json');

const attackRow = z.object({
  name: z.string(),
  family: z.string(),
  /** How the attacker got there, for example `the shell tool in a sandbox`. */
  way: z.string(),
  expected: z.string(),
  seen: z.string(),
  /** Judged by what an admin sees in the cluster and in the audit log. */
  succeeded: z.boolean(),
  /** Whether the same attack was seen to succeed with its wall taken away. */
  succeedsWithoutWall: z.boolean(),
  /** What the attack left in the audit log. */
  trace: z.string(),
});
export type AttackRow = z.infer<typeof attackRow>;

const attackReport = z.object({ attacks: z.array(attackRow) });

/** The rows so far; none if no attack has been reported. */
export async function readAttacks(file = ATTACK_REPORT): Promise<AttackRow[]> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return [];
  }
  return attackReport.parse(JSON.parse(text)).attacks;
}

/** Adds rows. A row of the same family and name is replaced. Test files run one after another. */
export async function reportAttacks(rows: readonly AttackRow[], file = ATTACK_REPORT): Promise<void> {
  const key = ({ family, name }: AttackRow) => `${family}/${name}`;
  const all = new Map([...(await readAttacks(file)), ...rows].map((row) => [key(row), row]));
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify({ attacks: [...all.values()] }, null, 2)}\n`);
}

export interface AttackTotals {
  readonly attacks: number;
  readonly succeeded: number;
  /** Attacks that succeeded without their wall. */
  readonly proven: number;
}

export function countAttacks(rows: readonly AttackRow[]): AttackTotals {
  return {
    attacks: rows.length,
    succeeded: rows.filter((row) => row.succeeded).length,
    proven: rows.filter((row) => row.succeedsWithoutWall).length,
  };
}

/** A table for the terminal: one line for each family, and their sum. */
export function formatAttacks(rows: readonly AttackRow[]): string {
  const line = (family: string, { attacks, succeeded, proven }: AttackTotals) =>
    `${family.padEnd(24)}${String(attacks).padStart(8)}${String(succeeded).padStart(11)}${String(proven).padStart(22)}`;
  const families = [...new Set(rows.map((row) => row.family))];
  return [
    `${'family'.padEnd(24)} attacks  succeeded  succeed without wall`,
    ...families.map((family) => line(family, countAttacks(rows.filter((row) => row.family === family)))),
    line('all', countAttacks(rows)),
    ...rows.filter((row) => row.succeeded).map((row) => `  ✗ ${row.family}: ${row.name}: ${row.seen}`),
  ].join('\n');
}

/** vitest's globalSetup of the e2e tests: a report of this run only, shown when the run ends. */
export async function setup(): Promise<() => Promise<void>> {
  await rm(ATTACK_REPORT, { force: true });
  return async () => {
    const rows = await readAttacks();
    if (rows.length > 0) console.log(`\n${formatAttacks(rows)}\n${path.relative(root, ATTACK_REPORT)}`);
  };
}

export default setup;
