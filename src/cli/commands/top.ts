// Flags and help of `oplab top`.

import type { Command } from 'commander';
import { NotATerminal } from '../../errors.ts';
import type { OpenEnvironment } from '../environment.ts';

const HELP = `
Examples:
  oplab top                    all namespaces
  oplab top -n tikv
  kubectl -n oplab-system port-forward deploy/oplab-gateway 8080 &
  oplab top --gateway http://127.0.0.1:8080

Keys: arrows select and scroll, tab goes to the next pane, enter zooms, f follows, ? shows help, q quits.
This command only reads. To disable colors, set NO_COLOR=1. Without a terminal, use oplab incident list and oplab
incident watch.`;

/** Adds the command to its parent. */
export function addTop(parent: Command, open: OpenEnvironment): void {
  parent
    .command('top')
    .description('live view of Incidents, the running session, Monitors and the health of their namespaces')
    .addHelpText('after', HELP)
    .action(async (_options: unknown, command: Command) => {
      requireTerminal(process);
      const { showTop } = await import('../actions/top.ts');
      await showTop(await open(), command);
    });
}

/** @throws NotATerminal */
export function requireTerminal({ stdin, stdout, env }: Pick<NodeJS.Process, 'stdin' | 'stdout' | 'env'>): void {
  const instead = 'use oplab incident list, oplab incident watch or oplab audit show instead';
  if (!stdin.isTTY || !stdout.isTTY) {
    throw new NotATerminal(`oplab top needs a terminal for input and output; ${instead}`);
  }
  if (env.TERM === undefined || env.TERM === '' || env.TERM === 'dumb') {
    throw new NotATerminal(`oplab top does not support terminals of type "${env.TERM ?? ''}"; ${instead}`);
  }
}
