// Flags that our Helm calls share.

import { type ChildOptions, output } from '../../hack/child.ts';

/**
 * Flags of `helm upgrade --install` that take every field over. Helm 4 applies server-side and
 * would stop at each field that an agent or a person with kubectl has changed. Helm 3 does not
 * check.
 */
export async function upgradeFlags(options: ChildOptions): Promise<string[]> {
  const version = await output('helm', ['version', '--template', '{{.Version}}'], options);
  return version.startsWith('v3') ? [] : ['--force-conflicts'];
}
