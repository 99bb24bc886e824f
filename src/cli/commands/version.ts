// oplab version

import type { Command } from 'commander';
import type { Environment } from '../environment.ts';
import { versionLine } from '../version.ts';

/** Adds the command to its parent. */
export function addVersion(parent: Command, { output }: Environment): void {
  parent
    .command('version')
    .description('print the version of this program')
    .addHelpText('after', '\nExample:\n  oplab version')
    .action(() => output.line(versionLine()));
}
