// The command `oplab incident show`.

import type { Command } from 'commander';
import { z } from 'zod';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { renderIncident, tailLines } from '../render/incident.ts';
import { parseName } from '../resolve-session.ts';
import { writeStructured } from '../structured.ts';

const flags = connectionFlags.extend({
  output: z.enum(['text', 'json', 'yaml']).default('text'),
  entries: z.number().default(10),
});

/** Prints one Incident. @throws NotFound */
export async function showIncident(environment: Environment, command: Command, text: string): Promise<void> {
  const { output } = environment;
  const given = parseFlags(command, flags);
  const { namespace = environment.namespace(given), name } = parseName(text, given.namespace);
  const { incident, raw } = await environment.incidents(given).get(namespace, name);
  if (given.output !== 'text') {
    await writeStructured(output, given.output, raw);
    return;
  }
  for (const line of renderIncident(incident, environment.now(), output.colors, output.width)) output.line(line);
  const tail = tailLines(incident, given.entries, output.width - 2);
  if (tail.length > 0) output.line();
  for (const line of tail) output.line(`  ${line}`);
}
