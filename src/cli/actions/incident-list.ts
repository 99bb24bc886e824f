// The command `oplab incident list`.

import type { Command } from 'commander';
import { z } from 'zod';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { incidentHeader, incidentRow } from '../render/incident-row.ts';
import { writeStructured } from '../structured.ts';
import { table } from '../table.ts';

const flags = connectionFlags.extend({
  output: z.enum(['table', 'wide', 'json', 'yaml']).default('table'),
  headers: z.boolean().default(true),
});

/** Prints Incidents, one a line. */
export async function listIncidents(environment: Environment, command: Command): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const namespace = given.allNamespaces ? undefined : environment.namespace(given);
  const seen = await environment.incidents(given).list(namespace);
  if (given.output === 'json' || given.output === 'yaml') {
    await writeStructured(output, given.output, { apiVersion: 'v1', kind: 'List', items: seen.map(({ raw }) => raw) });
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
}
