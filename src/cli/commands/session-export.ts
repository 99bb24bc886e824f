// Flags and help of `oplab session export`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

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
export function addSessionExport(parent: Command, open: OpenEnvironment): void {
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
      const { exportSessions } = await import('../actions/session-export.ts');
      await exportSessions(await open(), command, text);
    });
}
