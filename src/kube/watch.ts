// One watch connection: yields events until the server ends it, it falls silent, or it is aborted.

import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { readPieces } from '../net/answer-body.ts';
import { LineTooLong, parseNdjson } from '../net/ndjson.ts';
import { TimedOut } from '../net/timed-out.ts';
import { KubeError, kubeErrorFrom } from './errors.ts';
import { type KubeObject, kubeObject } from './object.ts';
import type { Transport } from './transport.ts';

/**
 * A change of an object.
 * - `added`, `modified`, `deleted`: contains the object now, or its last state.
 * - `bookmark`: contains only a newer resource version to resume from.
 */
export type WatchEvent =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: KubeObject }
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

const rawEvent = z.object({ type: z.string(), object: z.unknown() });

/**
 * After this time (plus up to half of it) the server ends a watch. Resuming is cheap; silence is
 * not.
 */
const SERVER_TIMEOUT_SECONDS = 120;
/** A connection that is silent for this long after the server should have ended it is dead. */
const SILENCE_GRACE_MS = 10_000;
/** One event is one object, and etcd's limit for an object is far below this. In characters. */
const MAX_LINE = 32 * 1024 * 1024;

export interface WatchConnection {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
  /** For tests: seconds until the server ends the watch. */
  readonly timeoutSeconds?: number | undefined;
}

/**
 * Ends without an error when the signal aborts.
 * @throws KubeError: after isGone, list again; after status 0, resume after a pause
 */
export async function* watchEvents(transport: Transport, connection: WatchConnection): AsyncGenerator<WatchEvent> {
  const timeoutSeconds = connection.timeoutSeconds ?? Math.round(SERVER_TIMEOUT_SECONDS * (1 + Math.random() / 2));
  connection.query.set('watch', 'true');
  connection.query.set('allowWatchBookmarks', 'true');
  connection.query.set('timeoutSeconds', String(timeoutSeconds));
  const doing = `watch ${connection.path}`;
  let response: IncomingMessage;
  try {
    response = await transport.open({
      method: 'GET',
      path: `${connection.path}?${connection.query}`,
      signal: connection.signal,
    });
  } catch (error) {
    if (connection.signal.aborted) return;
    throw error;
  }
  const { signal } = connection;
  const silenceMs = timeoutSeconds * 1000 + SILENCE_GRACE_MS;
  try {
    const body = readPieces(response, { silenceMs, signal });
    for await (const line of parseNdjson(body, { maxCharacters: MAX_LINE })) {
      yield eventFrom(line, doing);
      if (signal.aborted) return;
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof KubeError) throw error;
    if (error instanceof LineTooLong) throw new KubeError(0, 'TooLarge', `${doing}: an event is too large`);
    if (error instanceof TimedOut) throw new KubeError(0, 'Silent', `${doing}: silent for ${silenceMs} ms`);
    throw new KubeError(0, 'Unreachable', `${doing}: the connection was cut`, { cause: error });
  } finally {
    response.destroy();
  }
}

function eventFrom(line: unknown, doing: string): WatchEvent {
  const event = rawEvent.parse(line);
  if (event.type === 'ERROR') throw kubeErrorFrom(500, JSON.stringify(event.object), doing);
  const object = kubeObject.parse(event.object);
  switch (event.type) {
    case 'ADDED':
      return { type: 'added', object };
    case 'MODIFIED':
      return { type: 'modified', object };
    case 'DELETED':
      return { type: 'deleted', object };
    case 'BOOKMARK':
      return { type: 'bookmark', resourceVersion: object.metadata.resourceVersion ?? '' };
    default:
      throw new KubeError(0, 'UnknownEvent', `${doing}: the server sent an event of type ${event.type}`);
  }
}
