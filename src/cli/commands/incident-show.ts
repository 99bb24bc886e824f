// oplab incident show

import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { renderIncident, tailLines } from '../render/incident.ts';
import { parseName } from '../resolve-session.ts';
import { writeStructured } from '../structured.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json', 'yaml']).default('text'),
  entries: z.number().default(10),
});

const EXAMPLES = `
Examples:
  oplab incident show tikv-store-down -n tikv
  oplab incident show tikv/tikv-store-down --entries 20
  oplab incident show tikv-store-down -n tikv -o yaml`;

/** Adds the command to its parent. */
export function addIncidentShow(parent: Command, environment: Environment): void {
  const { output } = environment;
  parent
    .command('show')
    .description('show one Incident: conditions, attempts, claim, checks, usage, and the end of its trail')
    .argument('<name>', 'NAME or NAMESPACE/NAME')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'yaml']).default('text'))
    .option('--entries <count>', 'number of trail entries to show, at most 20', parseCount, 10)
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const given = flagsOf(command, flags);
      const { namespace = environment.namespace(given), name } = parseName(text, given.namespace);
      const { incident, raw } = await environment.incidents(given).get(namespace, name);
      if (given.output !== 'text') {
        writeStructured(output, given.output, raw);
        return;
      }
      for (const line of renderIncident(incident, environment.now(), output.colors, output.width)) output.line(line);
      const tail = tailLines(incident, given.entries, output.width - 2);
      if (tail.length > 0) output.line();
      for (const line of tail) output.line(`  ${line}`);
    });
}

/** A number of entries; status keeps at most 20. @throws InvalidArgumentError */
function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > 20)
    throw new InvalidArgumentError('must be an integer from 0 to 20');
  return value;
}
