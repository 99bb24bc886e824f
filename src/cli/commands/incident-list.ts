// Flags and help of `oplab incident list`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab incident list -n tikv
  oplab incident list -A -o wide
  oplab incident list -A -o json | jq '.items[].status.phase'`;

/** Adds the command to its parent. */
export function addIncidentList(parent: Command, open: OpenEnvironment): void {
  parent
    .command('list')
    .alias('ls')
    .description('list Incidents with phase, claim, verification and cost')
    .addOption(
      new Option('-o, --output <format>', 'output format').choices(['table', 'wide', 'json', 'yaml']).default('table'),
    )
    .option('--no-headers', 'omit the header')
    .addHelpText('after', EXAMPLES)
    .action(async (_options: unknown, command: Command) => {
      const { listIncidents } = await import('../actions/incident-list.ts');
      await listIncidents(await open(), command);
    });
}
