// oplab incident list

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { incidentHeader, incidentRow } from '../render/incident.ts';
import { writeStructured } from '../structured.ts';
import { table } from '../table.ts';

const flags = connectionFlags.extend({
  output: z.enum(['table', 'wide', 'json', 'yaml']).default('table'),
  headers: z.boolean().default(true),
});

const EXAMPLES = `
Examples:
  oplab incident list -n tikv
  oplab incident list -A -o wide
  oplab incident list -A -o json | jq '.items[].status.phase'`;

/** Adds the command to its parent. */
export function addIncidentList(parent: Command, environment: Environment): void {
  const { output } = environment;
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
      const given = flagsOf(command, flags);
      const namespace = given.allNamespaces ? undefined : environment.namespace(given);
      const seen = await environment.incidents(given).list(namespace);
      if (given.output === 'json' || given.output === 'yaml') {
        writeStructured(output, given.output, { apiVersion: 'v1', kind: 'List', items: seen.map(({ raw }) => raw) });
        return;
      }
      if (seen.length === 0) {
        output.note(`No Incidents found${namespace === undefined ? '' : ` in namespace ${namespace}`}.`);
        return;
      }
      const columns = { allNamespaces: given.allNamespaces, wide: given.output === 'wide' };
      const rows = seen.map(({ incident }) => incidentRow(incident, environment.now(), columns));
      const width = output.isTerminal && !columns.wide ? output.width : undefined;
      for (const line of table(incidentHeader(columns), rows, { headers: given.headers, width })) output.line(line);
    });
}
