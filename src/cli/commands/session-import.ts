// Flags and help of `oplab session import`.

import type { Command } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab session import tikv-tikv-store-down-6f1c0f5e-20260101T001000Z.json --into cases.db
  oplab session import sessions/*.json --into cases.db
  oplab audit list --file cases.db

All files are verified first. If one fails verification, nothing is imported (exit code 4). Importing a file again
changes nothing. A later export of a session adds the entries that an earlier one lacked.`;

/** Adds the command to its parent. */
export function addSessionImport(parent: Command, open: OpenEnvironment): void {
  parent
    .command('import')
    .description('import exported sessions into an audit file, which all audit commands read with --file')
    .argument('<files...>', 'session exports')
    .requiredOption('--into <path>', 'the SQLite file, created if missing; must not be open in a gateway')
    .addHelpText('after', EXAMPLES)
    .action(async (paths: string[], _options: unknown, command: Command) => {
      const { importSessions } = await import('../actions/session-import.ts');
      await importSessions(await open(), command, paths);
    });
}
