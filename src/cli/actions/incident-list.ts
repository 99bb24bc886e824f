// The command `oplab incident list`.

import type { Command } from 'commander';
import * as z from 'zod';
import { errorMessage } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { incidentHeader, incidentRow } from '../render/incident-row.ts';
import { writeStructured } from '../structured.ts';
import { table } from '../table.ts';

const flags = connectionFlags.extend({
  output: z.enum(['table', 'wide', 'json', 'yaml']).default('table'),
  headers: z.boolean().default(true),
});

/** Prints Incidents, one a line. One that cannot be read hides no other, and is named on stderr. */
export async function listIncidents(environment: Environment, command: Command): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const namespace = given.allNamespaces ? undefined : environment.namespace(given);
  const items = await environment.incidents(given).list(namespace);
  if (given.output === 'json' || given.output === 'yaml') {
    await writeStructured(output, given.output, { apiVersion: 'v1', kind: 'List', items });
    return;
  }
  if (items.length === 0) {
    output.note(`No Incidents found${namespace === undefined ? '' : ` in namespace ${namespace}`}.`);
    return;
  }
  const columns = { allNamespaces: given.allNamespaces, wide: given.output === 'wide' };
  const rows: string[][] = [];
  for (const item of items) {
    try {
      rows.push(incidentRow(item, environment.now(), columns));
    } catch (error) {
      output.note(errorMessage(error));
      process.exitCode = 1;
    }
  }
  const width = output.isTerminal && !columns.wide ? output.width : undefined;
  for (const line of table(incidentHeader(columns), rows, { headers: given.headers, width })) output.line(line);
}
