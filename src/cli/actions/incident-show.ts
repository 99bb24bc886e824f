// The command `oplab incident show`.

import type { Command } from 'commander';
import * as z from 'zod';
import { runsOf } from '../changes/undo-record.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { renderIncident, tailLines } from '../render/incident.ts';
import { undoLines } from '../render/undo-runs.ts';
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
  const { sealedHeadHash, finalHeadHash } = incident.status?.audit ?? {};
  const runs = runsOf(raw, sealedHeadHash ?? finalHeadHash);
  if (given.output !== 'text') {
    const isUndone = runs === undefined || runs.length > 0;
    await writeStructured(output, given.output, isUndone ? { ...raw, undoRuns: runs ?? null } : raw);
    return;
  }
  for (const line of renderIncident(incident, environment.now(), output.colors, output.width)) output.line(line);
  const undone = undoLines(runs, output.width - 2);
  if (undone.length > 0) output.line(`\n${output.colors.bold('Undo')}`);
  for (const line of undone) output.line(`  ${line}`);
  const tail = tailLines(incident, given.entries, output.width - 2);
  if (tail.length > 0) output.line();
  for (const line of tail) output.line(`  ${line}`);
}
