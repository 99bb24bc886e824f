// oplab session export

import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { exportFileName, type SessionExport, verifyExport } from '../../audit/export.ts';
import { InvalidInput, messageOf } from '../../errors.ts';
import { connectionFlags, type Environment, flagsOf } from '../environment.ts';
import { readExport } from '../reader/file-reader.ts';
import { entriesText } from '../render/entry.ts';
import { postMortem } from '../render/post-mortem.ts';
import { exportsOf } from '../session-source.ts';

const flags = connectionFlags.extend({
  file: z.string().optional(),
  all: z.boolean().default(false),
  format: z.enum(['json', 'markdown']).default('json'),
  to: z.string().default('.'),
  force: z.boolean().default(false),
});
type Flags = z.infer<typeof flags>;

const EXAMPLES = `
Examples:
  oplab session export tikv-store-down -n tikv             one JSON file in this folder
  oplab session export --all --to sessions/                one file per session
  oplab session export tikv/tikv-store-down --to - | jq .session
  oplab session export tikv-store-down -n tikv --format markdown
  oplab session export 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11 --file audit.db

The file is self-contained: entries, full texts, seal, and the Incident with its status. To verify it anywhere:
oplab audit verify --file FILE. Its schema is schemas/session-export.schema.json.
It contains everything the session saw, redacted like the log: protect it like the log.`;

/** Adds the command to its parent. */
export function addSessionExport(parent: Command, environment: Environment): void {
  parent
    .command('export')
    .description('write a session to a file: JSON that can be verified and imported, or a Markdown post-mortem')
    .argument('[session]', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--all', 'export all sessions in the log, one file per session')
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('--format <format>', 'output format').choices(['json', 'markdown']).default('json'))
    .option('--to <path>', 'folder or file to write to; - writes to standard output', '.')
    .option('--force', 'overwrite an existing file')
    .addHelpText('after', EXAMPLES)
    .action(async (text: string | undefined, _options: unknown, command: Command) => {
      const given = flagsOf(command, flags);
      const one = given.file !== undefined && readExport(given.file) !== undefined;
      if (text === undefined && !given.all && !one) throw new InvalidInput('name a session or use --all');
      if (text !== undefined && given.all) throw new InvalidInput('name a session or use --all, not both');
      let written = 0;
      for await (const exported of exportsOf(environment, given, text)) {
        write(environment, given, exported, given.all);
        written += 1;
      }
      if (written === 0) environment.output.note('No sessions found.');
    });
}

function write({ output }: Environment, given: Flags, exported: SessionExport, several: boolean): void {
  const text =
    given.format === 'json' ? `${JSON.stringify(exported, null, 2)}\n` : postMortem(exported, verifyExport(exported));
  const { incident, sealed, entries } = exported.session;
  const name = `${incident.namespace}/${incident.name}`;
  if (!sealed) output.note(`${name} is not sealed: the session may continue after this export`);
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
    throw new InvalidInput(there ? `${file} already exists; use --force to overwrite it` : messageOf(error), error);
  }
  output.line(`${file}: ${name}, ${entriesText(entries)}, ${Object.keys(exported.blobs).length} texts`);
}

function isFolder(to: string): boolean {
  return to.endsWith('/') || statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
}
