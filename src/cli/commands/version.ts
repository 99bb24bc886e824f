// oplab version

import type { Command } from 'commander';
import type { Environment } from '../environment.ts';

/** Set when the bundle is built; the source tree has none. */
const VERSION = process.env.OPLAB_VERSION ?? 'from source';

/** Adds the command to its parent. */
export function addVersion(parent: Command, { output }: Environment): void {
  parent
    .command('version')
    .description('print the version of this program')
    .addHelpText('after', '\nExample:\n  oplab version')
    .action(() => output.line(`oplab ${VERSION} (node ${process.versions.node})`));
}
