// Flags and help of `oplab incident show`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab incident show tikv-store-down -n tikv
  oplab incident show tikv/tikv-store-down --entries 20
  oplab incident show tikv-store-down -n tikv -o yaml`;

/** Adds the command to its parent. */
export function addIncidentShow(parent: Command, open: OpenEnvironment): void {
  parent
    .command('show')
    .description('show one Incident: conditions, attempts, claim, checks, usage, and the end of its trail')
    .argument('<name>', 'NAME or NAMESPACE/NAME')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'yaml']).default('text'))
    .option('--entries <count>', 'number of trail entries to show, at most 20', parseCount, 10)
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { showIncident } = await import('../actions/incident-show.ts');
      await showIncident(await open(), command, text);
    });
}

/** A number of entries; status keeps at most 20. @throws InvalidArgumentError */
function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 20)
    throw new InvalidArgumentError('must be an integer from 0 to 20');
  return value;
}
