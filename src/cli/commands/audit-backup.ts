// Flags and help of `oplab audit backup`.

import type { Command } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab audit backup audit-backup.db
  oplab audit verify --file audit-backup.db

The gateway keeps running. If the file exists, only what it lacks is added, so the command can be repeated. In the end,
the file is verified, also against the anchors in the Incidents' status.`;

/** Adds the command to its parent. */
export function addAuditBackup(parent: Command, open: OpenEnvironment): void {
  parent
    .command('backup')
    .description('copy the whole log from the running gateway to a file, and verify the copy')
    .argument('<file>', 'the SQLite file to create or to complete')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, _options: unknown, command: Command) => {
      const { backUpAudit } = await import('../actions/audit-backup.ts');
      await backUpAudit(await open(), command, file);
    });
}
