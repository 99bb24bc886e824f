// Flags and help of `oplab audit show`.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { EntryKind } from '../../audit/entry.ts';
import { ENTRY_KINDS } from '../../audit/entry-kinds.ts';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab audit show tikv-store-down -n tikv           reasoning, commands, results and changes
  oplab audit show tikv-store-down -n tikv --full    with the complete output of each command
  oplab audit show tikv/tikv-store-down --kind tool_call,kube_intent
  oplab audit show 6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11 --file audit.db -o ndjson`;

/** Adds the command to its parent. */
export function addAuditShow(parent: Command, open: OpenEnvironment): void {
  parent
    .command('show')
    .description('show the trail of a session, given its id or the name of its Incident')
    .argument('<session>', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--full', 'include full texts: command output and bodies of writes')
    .option('--kind <kinds>', `only these kinds, separated by commas: ${ENTRY_KINDS.join(', ')}`, parseKinds)
    .option('--since-seq <seq>', 'only entries after this number', parseSeq, 0)
    .option('--file <path>', 'read a SQLite file or a session export instead of querying the gateway')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json', 'ndjson']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { showTrail } = await import('../actions/audit-show.ts');
      await showTrail(await open(), command, text);
    });
}

/** @throws InvalidArgumentError for a kind that does not exist */
export function parseKinds(text: string, earlier: EntryKind[] | undefined): EntryKind[] {
  const kinds = text.split(',').map((name) => {
    const kind = ENTRY_KINDS.find((known) => known === name.trim());
    if (kind === undefined)
      throw new InvalidArgumentError(`"${name}" is not an entry kind; valid kinds: ${ENTRY_KINDS.join(', ')}`);
    return kind;
  });
  return [...(earlier ?? []), ...kinds];
}

/** @throws InvalidArgumentError */
function parseSeq(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('must be a non-negative integer');
  return value;
}
