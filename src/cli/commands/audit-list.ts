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
    .description(
      'list the sessions in the log, including those of deleted Incidents; all namespaces unless -n is given',
    )
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['table', 'json', 'yaml']).default('table'))
    .option('--no-headers', 'omit the header')
    .addHelpText('after', EXAMPLES)
    .action(async (_options: unknown, command: Command) => {
      const { listSessions } = await import('../actions/audit-list.ts');
      await listSessions(await open(), command);
    });
}
