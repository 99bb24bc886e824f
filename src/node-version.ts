// Which Node runs us. Looked at before anything else is loaded: an older one has not even the modules that we import.

import { UnfitNode } from './errors.ts';

/** As package.json says it in "engines". */
const OLDEST = 24;

/** @throws UnfitNode for a Node that is too old */
export function requireNode(version: string, executable: string): void {
  if (Number.parseInt(version, 10) >= OLDEST) return;
  throw new UnfitNode(
    `needs Node ${OLDEST} or newer, and this is Node ${version} (${executable}); install a newer one, or run it with node_modules/node/bin/node of a checkout`,
  );
}
