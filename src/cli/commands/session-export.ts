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
  oplab session export tikv-store-down -n tikv             one JSON file, here
  oplab session export --all --to sessions/                one file for each session
  oplab session export tikv/tikv-store-down --to - | jq .session
  oplab session export tikv-store-down -n tikv --format markdown
  oplab session export 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11 --file audit.db

The file stands for itself: entries, full texts, seal, and the Incident with its status. Check it anywhere with
oplab audit verify --file FILE; its schema is schemas/session-export.schema.json.
It says all that the session saw, redacted as the log is: treat it as you treat the log.`;

/** Adds the command to its parent. */
export function addSessionExport(parent: Command, environment: Environment): void {
  parent
    .command('export')
    .description('write a session into one file: JSON that can be verified and imported, or a Markdown post-mortem')
    .argument('[session]', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--all', 'every session of the log, a file each')
    .option('--file <path>', 'read a SQLite file, or a session export, instead of asking the gateway')
    .addOption(new Option('--format <format>', 'what to write').choices(['json', 'markdown']).default('json'))
    .option('--to <path>', 'a folder, a file, or - for the output', '.')
    .option('--force', 'replace a file that is there')
    .addHelpText('after', EXAMPLES)
    .action(async (text: string | undefined, _options: unknown, command: Command) => {
      const given = flagsOf(command, flags);
      const one = given.file !== undefined && readExport(given.file) !== undefined;
      if (text === undefined && !given.all && !one) throw new InvalidInput('name a session or say --all');
      if (text !== undefined && given.all) throw new InvalidInput('name a session or say --all, not both');
      let written = 0;
      for await (const exported of exportsOf(environment, given, text)) {
        write(environment, given, exported, given.all);
        written += 1;
      }
      if (written === 0) environment.output.note('No sessions.');
    });
}

function write({ output }: Environment, given: Flags, exported: SessionExport, several: boolean): void {
  const text =
    given.format === 'json' ? `${JSON.stringify(exported, null, 2)}\n` : postMortem(exported, verifyExport(exported));
  const { incident, sealed, entries } = exported.session;
  const name = `${incident.namespace}/${incident.name}`;
  if (!sealed) output.note(`${name} is not sealed: the session went on after this export`);
  if (given.to === '-') {
    output.write(text);
    return;
  }
  const extension = given.format === 'json' ? 'json' : 'md';
  const file = several || isFolder(given.to) ? path.join(given.to, exportFileName(exported, extension)) : given.to;
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    // It holds what an agent saw of a cluster: not for everybody on this machine.
    writeFileSync(file, text, { mode: 0o600, flag: given.force ? 'w' : 'wx' });
  } catch (error) {
    const there = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    throw new InvalidInput(there ? `${file} is there already; say --force to replace it` : messageOf(error), error);
  }
  output.line(`${file}: ${name}, ${entriesText(entries)}, ${Object.keys(exported.blobs).length} texts`);
}

function isFolder(to: string): boolean {
  return to.endsWith('/') || statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
}
