// A reporter for vitest: the cases of the contract suite as reports/contract.json, and as a table.

import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';

const root = path.dirname(path.dirname(import.meta.dirname));
const CONTRACT_REPORT = path.join(root, 'reports/contract.json');

interface ContractCase {
  /** The part of the contract: the beginning of the name of the test's file. */
  readonly group: string;
  readonly name: string;
  readonly ok: boolean;
}

function toCase(test: TestCase): ContractCase {
  const [group = ''] = path.basename(test.module.moduleId).split(/[.-]/);
  return { group, name: test.fullName, ok: test.result().state === 'passed' };
}

/** A table for the terminal: one line for each group, and their sum. */
function formatCases(cases: readonly ContractCase[]): string {
  const line = (group: string, some: readonly ContractCase[]) => {
    const right = some.filter(({ ok }) => ok).length;
    return `${group.padEnd(16)}${String(some.length).padStart(7)}${String(right).padStart(7)}`;
  };
  const groups = [...new Set(cases.map(({ group }) => group))].sort();
  return [
    `${'group'.padEnd(16)}  cases  right`,
    ...groups.map((group) =>
      line(
        group,
        cases.filter((one) => one.group === group),
      ),
    ),
    line('all', cases),
  ].join('\n');
}

/** Writes what has run. A case that is skipped, such as one for the real API, is not in the report. */
export default class ContractReporter implements Reporter {
  async onTestRunStart(): Promise<void> {
    await rm(CONTRACT_REPORT, { force: true });
  }

  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const cases = tests.filter((test) => test.result().state !== 'skipped').map(toCase);
    if (cases.length === 0) return;
    await mkdir(path.dirname(CONTRACT_REPORT), { recursive: true });
    await writeFile(CONTRACT_REPORT, `${JSON.stringify({ cases }, null, 2)}\n`);
    console.log(`\n${formatCases(cases)}\n${path.relative(root, CONTRACT_REPORT)}`);
  }
}
