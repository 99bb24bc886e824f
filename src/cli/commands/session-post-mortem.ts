// Flags and help of `oplab session post-mortem`.

import type { Command } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab session post-mortem tikv-store-down -n tikv > post-mortem.md
  oplab session post-mortem tikv-store-down --file tikv-tikv-store-down-6f1c0f5e-20260101T001000Z.json

Equivalent to oplab session export --format markdown --to -. Generated from the record alone, without a model.`;

/** Adds the command to its parent. */
export function addSessionPostMortem(parent: Command, open: OpenEnvironment): void {
  parent
    .command('post-mortem')
    .description('print a Markdown post-mortem: what was wrong, what was done, and the results of the checks')
    .argument('<session>', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { printPostMortem } = await import('../actions/session-post-mortem.ts');
      await printPostMortem(await open(), command, text);
    });
}
