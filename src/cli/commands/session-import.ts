// Flags and help of `oplab session import`.

import type { Command } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab session import tikv-tikv-store-down-6f1c0f5e-20260101T001000Z.json --into cases.db
  oplab session import sessions/*.json --into cases.db
  oplab audit list --file cases.db

Each file is verified first; one that does not add up is not imported (exit code 4). Importing again changes nothing.
An export of a session that went on completes what an earlier one of it began.`;

/** Adds the command to its parent. */
export function addSessionImport(parent: Command, open: OpenEnvironment): void {
  parent
    .command('import')
    .description('put exported sessions into an audit file, which every audit command reads with --file')
    .argument('<files...>', 'session exports')
    .requiredOption('--into <path>', 'the SQLite file; made if there is none; never one that a gateway has open')
    .addHelpText('after', EXAMPLES)
    .action(async (paths: string[], _options: unknown, command: Command) => {
      const { importSessions } = await import('../actions/session-import.ts');
      await importSessions(await open(), command, paths);
    });
}
