// Flags and help of `oplab audit tail`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { ENTRY_KINDS } from '../../audit/entry-kinds.ts';
import type { OpenEnvironment } from '../environment.ts';
import { parseAge } from './age.ts';
import { parseKinds } from './audit-show.ts';

const EXAMPLES = `
Examples:
  oplab audit tail tikv-store-down -n tikv           the last 10 entries, then new ones until the session is sealed
  oplab audit tail tikv-store-down -n tikv --tail -1 --keep
                                                     all entries, then those of the next Incident of this name too
  oplab audit tail -n tikv --tail 0                  what is new in all sessions of the namespace
  oplab audit tail -A --since 1h --kind kube_intent,kube_outcome
  oplab audit tail -A -o json | jq -r 'select(.kind == "tool_call") | .params.command'
  oplab audit tail --file audit.db                   the end of each session in a file, to which nobody writes

Of sessions that are opened meanwhile, all entries are printed. When the gateway restarts, the command waits for it and
continues where it was. Ctrl-C ends it with exit code 130.`;

/** Adds the command to its parent. */
export function addAuditTail(parent: Command, open: OpenEnvironment): void {
  parent
    .command('tail')
    .description('follow the entries of one session, or of all sessions in the namespace, as they are recorded')
    .argument(
      '[session]',
      'NAME or NAMESPACE/NAME of the Incident, or the id of the session; default: all sessions that are not sealed',
    )
    .option('--tail <entries>', 'begin with so many entries of each session; -1 for all', parseTail)
    .option('--since <age>', 'begin with the entries that are not older, for example 90m, 24h or 7d', parseAge)
    .option('--keep', 'do not end when the session is sealed, but wait for the next Incident of this name')
    .option('--kind <kinds>', `only these kinds, separated by commas: ${ENTRY_KINDS.join(', ')}`, parseKinds)
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(
      new Option('-o, --output <format>', 'output format; json and ndjson print one entry per line')
        .choices(['text', 'json', 'ndjson'])
        .default('text'),
    )
    .addHelpText('after', EXAMPLES)
    .action(async (text: string | undefined, _options: unknown, command: Command) => {
      const { tailAudit } = await import('../actions/audit-tail.ts');
      await tailAudit(await open(), command, text);
    });
}

/** @throws InvalidArgumentError */
function parseTail(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < -1) {
    throw new InvalidArgumentError('must be a number of entries, or -1 for all');
  }
  return value;
}
