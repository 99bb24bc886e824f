// Flags and help of `oplab audit list`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab audit list
  oplab audit list -n tikv
  oplab audit list --file audit.db -o json`;

/** Adds the command to its parent. */
export function addAuditList(parent: Command, open: OpenEnvironment): void {
  parent
    .command('list')
    .alias('ls')
    .description('list the sessions of the log, also of Incidents that are gone; all namespaces unless -n is given')
    .option('--file <path>', 'read a SQLite file, or a session export, instead of asking the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['table', 'json', 'yaml']).default('table'))
    .option('--no-headers', 'leave the header out')
    .addHelpText('after', EXAMPLES)
    .action(async (_options: unknown, command: Command) => {
      const { listSessions } = await import('../actions/audit-list.ts');
      await listSessions(await open(), command);
    });
}
