// `oplab version`: short enough to need no action.

import type { Command } from 'commander';
import type { Output } from '../output.ts';
import { versionLine } from '../version.ts';

/** Adds the command to its parent. */
export function addVersion(parent: Command, output: Output): void {
  parent
    .command('version')
    .description('print the version of this program')
    .addHelpText('after', '\nExample:\n  oplab version')
    .action(() => output.line(versionLine()));
}
