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

Each file is verified first; one that does not add up is not imported (exit code 4). Importing again changes nothing.
An export of a session that went on completes what an earlier one of it began.`;

/** Adds the command to its parent. */
export function addSessionImport(parent: Command, environment: Environment): void {
  const { output } = environment;
  parent
    .command('import')
    .description('put exported sessions into an audit file, which every audit command reads with --file')
    .argument('<files...>', 'session exports')
    .requiredOption('--into <path>', 'the SQLite file; made if there is none; never one that a gateway has open')
    .addHelpText('after', EXAMPLES)
    .action((paths: string[], _options: unknown, command: Command) => {
      const { into } = flagsOf(command, flags);
      // All are looked at before the first is written.
      const files = paths.map((path) => {
        const exported = readExport(path);
        if (exported === undefined) throw new InvalidInput(`${path} is not a session export: it contains no JSON`);
        const report = verifyExport(exported);
        if (report.findings.length > 0) {
          for (const line of renderSessionReport(report, output.colors)) output.note(line);
          throw new VerificationFailed(`${path} does not add up; nothing was imported`);
        }
        return { path, exported };
      });
      for (const { path, exported } of files) {
        const { added } = importSession(into, exported, environment.now());
        const { incident, entries } = exported.session;
        const done = added === 0 ? 'was there already' : `${entriesText(added)} added`;
        output.line(`${path}: ${incident.namespace}/${incident.name}, ${done}, ${entries} in ${into}`);
      }
    });
}
