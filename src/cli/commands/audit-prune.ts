// Flags and help of `oplab audit prune`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab audit prune --older-than 90d --dry-run     what would be deleted
  kubectl -n oplab-system exec deploy/oplab-gateway -- \\
    node /opt/oplab/dist/main.mjs audit prune --older-than 90d
                                                   delete it, in the gateway's pod
  oplab audit prune --older-than 90d --file audit.db
                                                   a file that no gateway has open

Only sealed sessions without an entry for so long are deleted. Of each, the number of entries and the last hash are
kept, so that oplab audit verify still finds it. This cannot be undone: make a backup first (oplab audit backup).`;

/** Adds the command to its parent. */
export function addAuditPrune(parent: Command, open: OpenEnvironment): void {
  parent
    .command('prune')
    .description('delete the entries of old sealed sessions and keep a tombstone of each')
    .requiredOption('--older-than <days>', 'how long a session must have been without an entry, for example 90d')
    .option('--dry-run', 'only list what would be deleted')
    .option('--file <path>', 'prune a SQLite file that no gateway has open')
    .option('--socket <path>', "the admin socket of the gateway, in the gateway's pod", '/tmp/oplab-admin.sock')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (_options: unknown, command: Command) => {
      const { pruneAudit } = await import('../actions/audit-prune.ts');
      await pruneAudit(await open(), command);
    });
}
