// oplab audit list

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { withoutControls } from '../../audit/excerpt.ts';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { age } from '../format.ts';
import { writeStructured } from '../structured.ts';
import { table } from '../table.ts';

const flags = connectionFlags.extend({
  output: z.enum(['table', 'json', 'yaml']).default('table'),
  headers: z.boolean().default(true),
  file: z.string().optional(),
});

const HEADER = ['SESSION', 'NAMESPACE', 'INCIDENT', 'ENTRIES', 'SEALED', 'OUTCOME', 'AGE', 'SUMMARY'];

const EXAMPLES = `
Examples:
  oplab audit list
  oplab audit list -n tikv
  oplab audit list --file audit.db -o json`;

/** Adds the command to its parent. */
export function addAuditList(parent: Command, environment: Environment): void {
  const { output } = environment;
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
      const given = flagsOf(command, flags);
      const reader = given.file === undefined ? environment.gateway(given) : environment.file(given.file);
      try {
        const sessions = (await reader.sessions()).filter(
          ({ incident }) =>
            given.namespace === undefined || given.allNamespaces || incident.namespace === given.namespace,
        );
        if (given.output !== 'table') {
          writeStructured(output, given.output, { items: sessions });
          return;
        }
        if (sessions.length === 0) {
          output.note('No sessions found.');
          return;
        }
        const rows = sessions.map((session) => [
          session.session,
          session.incident.namespace,
          session.incident.name,
          String(session.entries),
          session.sealed ? 'yes' : 'no',
          session.outcome ?? '',
          age(session.openedAt, environment.now()),
          withoutControls(session.summary),
        ]);
        const width = output.isTerminal ? output.width : undefined;
        for (const line of table(HEADER, rows, { headers: given.headers, width })) output.line(line);
      } finally {
        await reader.close();
      }
    });
}
