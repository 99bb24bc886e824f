// Sends chunks of a running command's output to the gateway, in order; drops them if they pile up.

import type { LiveChunk } from '../gateway/protocol.ts';

const MAX_WAITING = 32;

/**
 * Sends chunks one after another. Calls `onLeaseOver` if the gateway reports that the lease is
 * over.
 */
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
