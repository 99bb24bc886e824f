// The command `oplab session export`.

import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import * as z from 'zod';
import { exportFileName, type SessionExport, verifyExport } from '../../audit/export.ts';
import { errorMessage, InvalidInput } from '../../errors.ts';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import type { Output } from '../output.ts';
import { readExport } from '../reader/file-reader.ts';
import { entriesText } from '../render/entry.ts';
import { postMortem } from '../render/post-mortem.ts';
import { loadExports } from '../session-source.ts';

const flags = connectionFlags.extend({
  file: z.string().optional(),
  all: z.boolean().default(false),
  format: z.enum(['json', 'markdown']).default('json'),
  to: z.string().default('.'),
  force: z.boolean().default(false),
});
type Flags = z.infer<typeof flags>;

/** Writes sessions into files. @throws InvalidInput, NotFound */
export async function exportSessions(
  environment: Environment,
  command: Command,
  text: string | undefined,
): Promise<void> {
  const given = parseFlags(command, flags);
  const one = given.file !== undefined && readExport(given.file) !== undefined;
  if (text === undefined && !given.all && !one) throw new InvalidInput('name a session or use --all');
  if (text !== undefined && given.all) throw new InvalidInput('name a session or use --all, not both');
  if (given.all && existsSync(given.to) && !isFolder(given.to)) {
    throw new InvalidInput(`--to: ${given.to} is a file; with --all, name a folder`);
  }
  let written = 0;
  for await (const exported of loadExports(environment, given, text, given.format === 'json')) {
    write(environment, given, exported, given.all);
    written += 1;
  }
  if (written === 0) environment.output.note('No sessions found.');
}

function write({ output }: Environment, given: Flags, exported: SessionExport, several: boolean): void {
  const text =
    given.format === 'json' ? `${JSON.stringify(exported, null, 2)}\n` : postMortem(exported, verifyExport(exported));
  const { incident, sealed, entries } = exported.session;
  const name = `${incident.namespace}/${incident.name}`;
  if (!sealed) output.note(`${name} is not sealed: the session may continue after this export`);
  if (given.format === 'json') noteProof(output, name, exported);
  if (given.to === '-') {
    output.write(text);
    return;
  }
  const extension = given.format === 'json' ? 'json' : 'md';
  const file = several || isFolder(given.to) ? path.join(given.to, exportFileName(exported, extension)) : given.to;
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    // The file contains what an agent saw of a cluster, so only its owner may read it.
    writeFileSync(file, text, { mode: 0o600, flag: given.force ? 'w' : 'wx' });
  } catch (error) {
    const there = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    throw new InvalidInput(there ? `${file} already exists; use --force to overwrite it` : errorMessage(error), error);
  }
  output.line(`${file}: ${name}, ${entriesText(entries)}, ${Object.keys(exported.blobs).length} texts`);
}

/** Says what a verification with the public key would miss. */
function noteProof(output: Output, name: string, { proof, session }: SessionExport): void {
  if (proof === undefined) output.note(`${name}: the log is not signed, so nothing proves where the export is from`);
  else if (proof.opened === null || (session.sealed && proof.sealed === null)) {
    output.note(`${name}: the last checkpoint of the log is older than the session; export it again in a few seconds`);
  }
}

function isFolder(to: string): boolean {
  return to.endsWith('/') || statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
}
