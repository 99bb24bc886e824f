// Flags and help of `oplab changes`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab changes tikv-store-down -n tikv
  oplab changes tikv/tikv-store-down -o json
  oplab changes tikv/tikv-store-down --file session.json -o patch > changes.patch

With -o patch, the differences are printed as unified diffs of the objects' YAML, for git apply or patch -p1.
With -o json, each change has both states of its object.`;

/** Adds the command to its parent. */
export function addChanges(parent: Command, open: OpenEnvironment): void {
  parent
    .command('changes')
    .description('show what a session changed: each object before and after, from the record')
    .argument('<session>', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'patch']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { showChanges } = await import('../actions/changes.ts');
      await showChanges(await open(), command, text);
    });
}
