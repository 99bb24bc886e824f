// The command `oplab audit list`.

import type { Command } from 'commander';
import * as z from 'zod';
import { withoutControls } from '../../audit/controls.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { age } from '../format.ts';
import { writeStructured } from '../structured.ts';
import { table } from '../table.ts';

const flags = connectionFlags.extend({
  output: z.enum(['table', 'json', 'yaml']).default('table'),
  headers: z.boolean().default(true),
  file: z.string().optional(),
});

const HEADER = ['SESSION', 'NAMESPACE', 'INCIDENT', 'ENTRIES', 'SEALED', 'OUTCOME', 'AGE', 'SUMMARY'];

/** Prints the sessions of the log. */
export async function listSessions(environment: Environment, command: Command): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const reader = await (given.file === undefined ? environment.gateway(given) : environment.file(given.file));
  try {
    const sessions = (await reader.sessions()).filter(
      ({ incident }) => given.namespace === undefined || given.allNamespaces || incident.namespace === given.namespace,
    );
    if (given.output !== 'table') {
      await writeStructured(output, given.output, { items: sessions });
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
      session.prunedAt === undefined ? (session.sealed ? 'yes' : 'no') : 'pruned',
      session.outcome ?? '',
      age(session.openedAt, environment.now()),
      withoutControls(session.summary),
    ]);
    const width = output.isTerminal ? output.width : undefined;
    for (const line of table(HEADER, rows, { headers: given.headers, width })) output.line(line);
  } finally {
    await reader.close();
  }
}
