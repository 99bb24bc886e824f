// Flags and help of `oplab incident watch`.

import type { Command } from 'commander';
import type { OpenEnvironment } from '../environment.ts';

const EXAMPLES = `
Examples:
  oplab incident watch tikv-store-down -n tikv
  kubectl apply -f incident.yaml && oplab incident watch tikv/tikv-store-down

Ends when the Incident is finished, with exit code 0 if it succeeded and 1 otherwise.`;

/** Adds the command to its parent. */
export function addIncidentWatch(parent: Command, open: OpenEnvironment): void {
  parent
    .command('watch')
    .description('follow an Incident to its end: reasoning, commands, results and changes as they happen')
    .argument('<name>', 'NAME or NAMESPACE/NAME')
    .addHelpText('after', EXAMPLES)
    .action(async (text: string, _options: unknown, command: Command) => {
      const { watchIncident } = await import('../actions/incident-watch.ts');
      await watchIncident(await open(), command, text);
    });
}
