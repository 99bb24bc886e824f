// Chunks of a running command on their way to the gateway: in order, never waited for, dropped when they pile up.

import type { LiveChunk } from '../gateway/protocol.ts';

const MAX_WAITING = 32;

/** Sends chunks one after another. `onLeaseOver` is called when the gateway says that the lease is dead. */
export function createLiveOutput(
  send: (chunk: LiveChunk) => Promise<void>,
  onLeaseOver: (error: unknown) => void,
): (chunk: LiveChunk) => void {
  const waiting: LiveChunk[] = [];
  let sending = false;
  const drain = async () => {
    sending = true;
    for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) {
      await send(chunk).catch(onLeaseOver);
    }
    sending = false;
  };
  return (chunk) => {
    if (waiting.length >= MAX_WAITING) return;
    waiting.push(chunk);
    if (!sending) void drain();
  };
}
