// The command line: all commands and the flags they share. Each command has its own file.

import path from 'node:path';
import { Command, type CommanderError, Help, type Option } from 'commander';
import { InvalidInput } from '../errors.ts';
import { addAuditBackup } from './commands/audit-backup.ts';
import { addAuditList } from './commands/audit-list.ts';
import { addAuditPrune } from './commands/audit-prune.ts';
import { addAuditSearch } from './commands/audit-search.ts';
import { addAuditShow } from './commands/audit-show.ts';
import { addAuditTail } from './commands/audit-tail.ts';
import { addAuditVerify } from './commands/audit-verify.ts';
import { addChanges } from './commands/changes.ts';
import { addIncidentCreate } from './commands/incident-create.ts';
import { addIncidentList } from './commands/incident-list.ts';
import { addIncidentShow } from './commands/incident-show.ts';
import { addIncidentWatch } from './commands/incident-watch.ts';
import { addSessionExport } from './commands/session-export.ts';
import { addSessionImport } from './commands/session-import.ts';
import { addSessionPostMortem } from './commands/session-post-mortem.ts';
import { addTop } from './commands/top.ts';
import { addUndo } from './commands/undo.ts';
import { addVersion } from './commands/version.ts';
import type { Environment } from './environment.ts';
import { type Output, processOutput } from './output.ts';
import { versionLine } from './version.ts';

const EXIT_CODES = `
Exit codes: 0 success, 1 failure, 2 wrong usage or input, 3 not found, 4 the audit log failed verification,
5 undo left something as it is.`;

/** The commands that can be about all namespaces. The others neither show nor accept `-A`. */
const ACROSS_NAMESPACES: readonly string[] = [
  'incident list',
  'audit list',
  'audit search',
  'audit tail',
  'session export',
  'top',
];

/** The commands that no namespace narrows. They neither show nor accept `-n` and `-A`. */
const WITHOUT_NAMESPACE: readonly string[] = ['audit backup', 'audit prune', 'session import', 'version'];

/** The path of a command below the program, such as `incident list`. */
function commandPath(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : `${commandPath(parent)} ${command.name()}`;
}

/**
 * Refuses what a command would ignore: whoever prunes with `-n` must not lose the record of others.
 * @throws InvalidInput
 */
function requireFittingNamespace(_program: Command, command: Command): void {
  const name = commandPath(command);
  const { namespace, allNamespaces } = command.optsWithGlobals();
  const isAcross = allNamespaces === true;
  if (WITHOUT_NAMESPACE.includes(name) && (isAcross || namespace !== undefined)) {
    const flag = isAcross ? '-A, --all-namespaces' : `-n, --namespace ${namespace}`;
    throw new InvalidInput(`${flag}: "${name}" does not select by namespace; leave the flag out`);
  }
  if (!isAcross || ACROSS_NAMESPACES.includes(name)) return;
  throw new InvalidInput(`-A, --all-namespaces: "${name}" is about one namespace; set it with -n NAMESPACE`);
}

/** The options of the commands above that a command accepts. */
function visibleGlobalOptions(this: Help, command: Command): Option[] {
  const shown = Help.prototype.visibleGlobalOptions.call(this, command);
  // A group of commands shows what some of its commands accept.
  if (command.commands.length > 0) return shown;
  const name = commandPath(command);
  return shown.filter(({ long }) => {
    if (long === '--namespace') return !WITHOUT_NAMESPACE.includes(name);
    return long !== '--all-namespaces' || ACROSS_NAMESPACES.includes(name);
  });
}

/** The name in the usage texts. kubectl runs its plugins as kubectl-NAME. */
function calledAs(): string {
  return path.basename(process.argv[1] ?? '').startsWith('kubectl-') ? 'kubectl oplab' : 'oplab';
}

/** Exits with code 2 for wrong usage, which distinguishes it from failures (1). */
function endAfterUsage(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : 2);
}

/**
 * The complete command line; `parseAsync` runs it. Failures are thrown as OplabError. This file and
 * commands/ define names, flags and help. The action of a command is loaded when it runs.
 */
export function createProgram(environment?: Environment): Command {
  const output = environment?.output ?? processOutput();
  const open = async () => environment ?? (await import('./environment.ts')).realEnvironment(output);
  const program = new Command(calledAs())
    .description('Work with Incidents, the agents that handle them, and the record of everything they did.')
    .option('-n, --namespace <namespace>', "namespace of the Incident; default: the kubeconfig context's namespace")
    .option('-A, --all-namespaces', 'all namespaces')
    .option('--context <context>', 'kubeconfig context to use')
    .option('--kubeconfig <path>', 'path to the kubeconfig file')
    .option('--oplab-namespace <namespace>', 'namespace in which oplab is installed', 'oplab-system')
    .option('--gateway <url>', "address of the gateway's read API, if you forward its port yourself")
    .version(versionLine(), '-V, --version', 'print the version of this program')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false, visibleGlobalOptions })
    .hook('preAction', requireFittingNamespace)
    .configureOutput(createOutputConfiguration(output))
    .exitOverride(endAfterUsage)
    .addHelpText('after', EXIT_CODES);

  const incident = program
    .command('incident')
    .alias('incidents')
    .alias('inc')
    .description('what is wrong, what is being done about it, and whether it is repaired');
  addIncidentList(incident, open);
  addIncidentShow(incident, open);
  addIncidentWatch(incident, open);
  addIncidentCreate(incident, open);

  const audit = program
    .command('audit')
    .description("the record of sessions: the model's reasoning, commands, results and changes");
  addAuditList(audit, open);
  addAuditShow(audit, open);
  addAuditTail(audit, open);
  addAuditVerify(audit, open);
  addAuditSearch(audit, open);
  addAuditBackup(audit, open);
  addAuditPrune(audit, open);

  const session = program
    .command('session')
    .alias('sessions')
    .description('export sessions to files, import them, and print post-mortems');
  addSessionExport(session, open);
  addSessionImport(session, open);
  addSessionPostMortem(session, open);

  addChanges(program, open);
  addUndo(program, open);
  addTop(program, open);
  addVersion(program, output);
  return program;
}

function createOutputConfiguration(output: Output) {
  return {
    writeOut: (text: string) => output.write(text),
    writeErr: (text: string) => output.note(text.replace(/\n$/, '')),
    // As main.ts writes all other errors: in one line.
    outputError: (text: string, write: (text: string) => void) => {
      const message = text
        .trim()
        .replaceAll('\n', ' ')
        .replace(/^error: /, 'oplab: OPLAB_INVALID_INPUT: ');
      write(`${message} (use --help for more information)`);
    },
  };
}
