// The command `oplab top`.

import type { Command } from 'commander';
import { connectionFlags, type Environment, parseFlags } from '../environment.ts';
import { isUtf8 } from '../tui/paint.ts';
import { runTop } from '../tui/top.ts';

/** Shows the live screen until the user leaves it. */
export async function showTop(environment: Environment, command: Command): Promise<void> {
  const given = parseFlags(command, connectionFlags);
  const reader = await environment.gateway(given);
  try {
    await runTop({
      incidents: environment.incidents(given),
      monitors: environment.monitors(given),
      reader,
      namespace: given.allNamespaces ? undefined : given.namespace,
      painter: { colors: environment.output.colors, unicode: isUtf8() },
      streams: process,
      now: environment.now,
    });
  } finally {
    await reader.close();
    // A hanging request must not keep the shell waiting.
    setTimeout(() => process.exit(), 500).unref();
  }
}
