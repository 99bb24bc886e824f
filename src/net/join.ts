// Joins two connections: forwards bytes in both directions, each of which ends separately.

import type { Duplex, Transform } from 'node:stream';

export interface JoinOptions {
  /** The caller's bytes pass through this stream, such as a gate that counts them. */
  readonly inward?: Transform;
  /** The answerer's bytes pass through this stream. */
  readonly outward?: Transform;
  /** The answerer failed before it ended. Both sides are destroyed afterwards. */
  readonly onFailure?: (error: Error) => void;
  /** Destroys both sides. */
  readonly signal?: AbortSignal;
  /** How long a side may stay open after the other one ended, in milliseconds. */
  readonly lingerMs?: number;
}

const LINGER_MS = 2000;

/**
 * Joins `caller` and `answerer`. Open both with `allowHalfOpen` if one direction may end first.
 *
 * The end of the caller's direction is passed on and ends nothing else, because a command may
 * answer after its input has ended. The end of the answerer's direction ends the connection, since
 * nobody reads the caller's bytes any more; the answerer's bytes are delivered first.
 *
 * Resolves when the answerer is closed and its bytes are delivered, or cannot be. Never rejects.
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
    // After its end the answerer may even reset the connection; its bytes are still delivered.
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
