// Flags and help of `oplab audit search`.

import { type Command, Option } from 'commander';
import { ENTRY_KINDS } from '../../audit/entry-kinds.ts';
import type { OpenEnvironment } from '../environment.ts';
import { parseAge } from './age.ts';
import { parseKinds } from './audit-show.ts';

const EXAMPLES = `
Examples:
  oplab audit search 'delete pvc'
  oplab audit search --kind kube_intent --since 24h
  oplab audit search PD_ -n tikv --tool shell --full`;

/** Adds the command to its parent. */
export function addAuditSearch(parent: Command, open: OpenEnvironment): void {
  parent
    .command('search')
    .description('find entries of all sessions by their text, tool, kind or time')
    .argument('[text]', 'text to find, upper or lower case; all entries if it is not given')
    .option('--tool <name>', 'only entries of this tool, for example shell or kube')
    .option('--kind <kinds>', `only these kinds, separated by commas: ${ENTRY_KINDS.join(', ')}`, parseKinds)
    .option('--since <age>', 'only entries that are not older, for example 90m, 24h or 7d', parseAge)
    .option('--full', 'search in full texts too: command output and bodies of writes')
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'ndjson']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string | undefined, _options: unknown, command: Command) => {
      const { searchAudit } = await import('../actions/audit-search.ts');
      await searchAudit(await open(), command, text);
    });
}
