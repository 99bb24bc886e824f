// oplab session import

import type { Command } from 'commander';
import { z } from 'zod';
import { verifyExport } from '../../audit/export.ts';
import { importSession } from '../../audit/import.ts';
import { InvalidInput, VerificationFailed } from '../../errors.ts';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { readExport } from '../reader/file-reader.ts';
import { entriesText } from '../render/entry.ts';
import { renderSessionReport } from '../render/verification.ts';

const flags = connectionFlags.extend({ into: z.string() });

const EXAMPLES = `
Examples:
  oplab session import tikv-tikv-store-down-6f1c0f5e-20260101T001000Z.json --into cases.db
  oplab session import sessions/*.json --into cases.db
  oplab audit list --file cases.db

All files are verified first. If one fails verification, nothing is imported (exit code 4). Importing a file again
changes nothing. A later export of a session adds the entries that an earlier one lacked.`;

/** Adds the command to its parent. */
export function addSessionImport(parent: Command, environment: Environment): void {
  const { output } = environment;
  parent
    .command('import')
    .description('import exported sessions into an audit file, which all audit commands read with --file')
    .argument('<files...>', 'session exports')
    .requiredOption('--into <path>', 'the SQLite file, created if missing; must not be open in a gateway')
    .addHelpText('after', EXAMPLES)
    .action((paths: string[], _options: unknown, command: Command) => {
      const { into } = flagsOf(command, flags);
      // Verify all files before the first is written.
      const files = paths.map((path) => {
        const exported = readExport(path);
        if (exported === undefined) throw new InvalidInput(`${path} is not a session export: it is not JSON`);
        const report = verifyExport(exported);
        if (report.findings.length > 0) {
          for (const line of renderSessionReport(report, output.colors)) output.note(line);
          throw new VerificationFailed(`${path} failed verification; nothing was imported`);
        }
        return { path, exported };
      });
      for (const { path, exported } of files) {
        const { added } = importSession(into, exported, environment.now());
        const { incident, entries } = exported.session;
        const done = added === 0 ? 'already imported' : `${entriesText(added)} added`;
        output.line(`${path}: ${incident.namespace}/${incident.name}, ${done}, ${entries} in ${into}`);
      }
    });
}
