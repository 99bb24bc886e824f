// Flags and help of `oplab undo`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab undo tikv-store-down -n tikv --dry-run      show what would be put back, and what not
  oplab undo tikv-store-down -n tikv --dry-run -o json
                                                    the whole plan, with values and reasons
  oplab undo tikv-store-down -n tikv                ask, then put it back
  oplab undo tikv/tikv-store-down --yes -o json

Acts with your own rights. A field is put back only if it still has the value that the session left. Each run is
recorded in the annotation oplab.dev/undo of the Incident before anything is put back: see oplab incident show.

Exit codes: 0 everything is put back or there is nothing to do, 5 something is left as it is and listed.`;

/** Adds the command to its parent. */
export function addUndo(parent: Command, open: OpenEnvironment): void {
  parent
    .command('undo')
    .description('put back what a session changed, newest first, except what somebody else changed since')
    .argument('<session>', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--dry-run', 'only show what would be done')
    .option('-y, --yes', 'do not ask')
    .option('--file <path>', 'read the record from a SQLite file or a session export')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { undoSession } = await import('../actions/undo.ts');
      await undoSession(await open(), command, text);
    });
}
