// Flags that our Helm calls share.

import { type ChildOptions, output } from '../../hack/child.ts';

/**
 * Flags of `helm upgrade --install` for an installation that is ours to the last field: Helm 4 applies server-side and would
 * stop at every field that an agent, or a person with kubectl, has repaired in the meantime. Helm 3 never asks.
 */
export async function upgradeFlags(options: ChildOptions): Promise<string[]> {
  const version = await output('helm', ['version', '--template', '{{.Version}}'], options);
  return version.startsWith('v3') ? [] : ['--force-conflicts'];
}
