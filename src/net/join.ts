// Joins two connections: bytes in both directions, each direction ending by itself.

import type { Duplex, Transform } from 'node:stream';

export interface JoinOptions {
  /** What the caller's bytes go through on their way, such as a gate that counts them. */
  readonly inward?: Transform;
  /** What the answering side's bytes go through. */
  readonly outward?: Transform;
  /** The answering side failed before it had ended. Both sides are destroyed afterwards. */
  readonly onFailure?: (error: Error) => void;
  /** Destroys both sides. */
  readonly signal?: AbortSignal;
  /** How long a side may stay open once the other one is over, in milliseconds. */
  readonly lingerMs?: number;
}

const LINGER_MS = 2000;

/**
 * Joins `caller` and `answerer`; for half-open semantics both must have been opened with
 * `allowHalfOpen`.
 *
 * The end of the caller's direction is passed on and ends nothing else: a command may answer after
 * its input has ended. The end of the answerer's direction ends the connection: what the caller
 * still has to say is of no use then. What the answerer has said before is delivered first.
 *
 * Resolves when the answerer is closed and all that it said is delivered, or cannot be. Never
 * rejects.
 */
export function join(caller: Duplex, answerer: Duplex, options: JoinOptions = {}): Promise<void> {
  const { inward, outward, onFailure, signal, lingerMs = LINGER_MS } = options;
  let hasEnded = false;
  const destroyBoth = () => {
    caller.destroy();
    answerer.destroy();
  };
  const destroyLater = (destroy: () => void) => setTimeout(destroy, lingerMs).unref();

  caller.on('error', destroyBoth);
  caller.once('close', destroyBoth);
  caller.once('finish', () => destroyLater(destroyBoth));
  answerer.on('error', (error) => {
    // After its end the answerer may close the connection as it likes: what it said is still on its
    // way.
    if (hasEnded) return;
    onFailure?.(error);
    destroyBoth();
  });
  answerer.once('end', () => {
    hasEnded = true;
    answerer.end();
    destroyLater(() => answerer.destroy());
  });
  answerer.once('close', () => (outward ?? caller).end());

  const joined = new Promise<void>((resolve) => {
    if (answerer.closed) return resolve();
    answerer.once('close', () => {
      signal?.removeEventListener('abort', destroyBoth);
      if (caller.writableFinished || caller.destroyed) return resolve();
      caller.once('finish', resolve).once('close', resolve);
    });
  });
  if (signal?.aborted || caller.destroyed || answerer.destroyed) destroyBoth();
  else signal?.addEventListener('abort', destroyBoth, { once: true });

  if (inward === undefined) caller.pipe(answerer);
  else caller.pipe(inward).pipe(answerer);
  if (outward === undefined) answerer.pipe(caller);
  else answerer.pipe(outward).pipe(caller);
  return joined;
}
