// Flags and help of `oplab session export`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab session export tikv-store-down -n tikv             one JSON file in this folder
  oplab session export --all --to sessions/                one file per session
  oplab session export tikv/tikv-store-down --to - | jq .session
  oplab session export tikv-store-down -n tikv --format markdown
  oplab session export 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11 --file audit.db

The file is self-contained: entries, full texts, seal, and the Incident with its status. To verify it anywhere:
oplab audit verify --file FILE --public-key KEY. Its schema is schemas/session-export.schema.json.
It contains everything the session saw, redacted like the log: protect it like the log.`;

/** Adds the command to its parent. */
export function addSessionExport(parent: Command, open: OpenEnvironment): void {
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
      const { exportSessions } = await import('../actions/session-export.ts');
      await exportSessions(await open(), command, text);
    });
}
