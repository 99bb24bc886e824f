// Ends a command that runs until the user interrupts it.

import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** How long a command may take to close its connections, in milliseconds. */
const GRACE_MS = 2000;

/**
 * Runs the work until it ends, or until the first signal. Then the exit code is 128 plus the
 * signal's number, as shells have it: 130 for Ctrl-C. A second signal ends the process at once.
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  let exit: NodeJS.Timeout | undefined;
  const onSignal = (name: (typeof SIGNALS)[number]) => {
    process.exitCode = 128 + constants.signals[name];
    stop.abort();
    exit = setTimeout(() => process.exit(), GRACE_MS);
  };
  for (const name of SIGNALS) process.once(name, onSignal);
  try {
    await work(stop.signal);
  } catch (error) {
    // What fails because of the interruption is no failure.
    if (!stop.signal.aborted) throw error;
  } finally {
    clearTimeout(exit);
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}
