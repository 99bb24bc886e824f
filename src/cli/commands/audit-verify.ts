// Flags and help of `oplab audit verify`.

import { type Command, Option } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab audit verify tikv-store-down -n tikv       the log against the Incident's status
  oplab audit verify --all                         all sessions in the log and all Incidents
  oplab audit verify --file audit.db               offline: the file against itself
  oplab audit verify --file audit.db --incident-file incident.yaml
                                                   offline: the file against a saved status
  oplab audit verify --file tikv-tikv-store-down-6f1c0f5e-20260101T001000Z.json
                                                   offline: a session export against itself
  oplab audit verify --file session.json --public-key log.pub
                                                   offline: a session export against the signature of its log
  oplab audit verify --file audit.db --public-key log.pub --checkpoint saved.txt
                                                   offline: the file against its signatures

If all rows from some row to the end are rewritten, the chain is still consistent. Only an anchor outside the file,
the Incident's status, reveals this.`;

/** Adds the command to its parent. */
export function addAuditVerify(parent: Command, open: OpenEnvironment): void {
  parent
    .command('verify')
    .description('verify the log: rows against the hash chain, the chain against the anchors in status')
    .argument('[incident]', 'NAME or NAMESPACE/NAME of the Incident, or the id of the session')
    .option('--all', 'verify all sessions')
    .option(
      '--file <path>',
      'read a SQLite file that no gateway has open, or a session export, instead of querying gateway and cluster',
    )
    .option(
      '--incident-file <path>',
      'saved Incidents (YAML or JSON) whose status contains anchors of the log; may be repeated',
      append,
    )
    .option(
      '--public-key <key>',
      'check the signatures of the log with this key <name>+<id>+<base64>, or with the keys in this file; default: the key that the cluster publishes',
    )
    .option('--checkpoint <path>', 'a signed checkpoint that was saved earlier: the log must contain what it covers')
    .addOption(new Option('-o, --output <format>', 'output format').choices(['text', 'json']).default('text'))
    .addHelpText('after', EXAMPLES)
    .action(async (text: string | undefined, _options: unknown, command: Command) => {
      const { verifyAudit } = await import('../actions/audit-verify.ts');
      await verifyAudit(await open(), command, text);
    });
}

function append(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
