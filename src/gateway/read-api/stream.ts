// A session as server-sent events: first the recorded entries, then new ones, until the session is
// sealed or the reader disconnects.

import type { ServerResponse } from 'node:http';
import type { AuditLog } from '../../audit/log.ts';
import { formatServerSentEvent } from '../../net/server-sent-events.ts';
import type { LiveOutput } from '../live-output.ts';

const PAGE = 200;
/**
 * Interval of heartbeats in milliseconds. They keep proxies from closing the connection and reveal
 * a dead one.
 */
const HEARTBEAT_MS = 10_000;

export interface StreamSource {
  readonly log: Pick<AuditLog, 'read' | 'head' | 'onAppend'>;
  readonly live: LiveOutput;
  readonly heartbeatMs?: number;
}

/** Resolves when the stream has ended. */
export async function streamSession(
  source: StreamSource,
  session: string,
  afterSeq: number,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  response.flushHeaders();
  let wake: (() => void) | undefined;
  let hasNews = true;
  let open = true;
  const notify = () => {
    hasNews = true;
    wake?.();
  };
  const close = () => {
    open = false;
    wake?.();
  };
  response.once('close', close);
  signal.addEventListener('abort', close, { once: true });
  const unsubscribe = [
    source.log.onAppend((entry) => {
      if (entry.session === session) notify();
    }),
    source.live.subscribe(session, (chunk) => {
      // Live output is best effort: a reader that does not keep up misses some of it.
      if (!response.writableNeedDrain) response.write(formatServerSentEvent('live', chunk));
    }),
  ];
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(': alive\n\n');
  }, source.heartbeatMs ?? HEARTBEAT_MS);
  let seq = afterSeq;
  try {
    while (open) {
      // Entries are read from the log instead of being queued, so a slow reader costs no memory.
      hasNews = false;
      const head = await source.log.head(session);
      const entries = await source.log.read(session, { afterSeq: seq, limit: PAGE });
      for (const entry of entries) {
        if (!open) return;
        seq = entry.seq;
        if (!response.write(formatServerSentEvent('entry', entry, entry.seq))) await drained(response);
      }
      if (entries.length === PAGE) continue;
      // The entries of a pruned session are no longer there.
      if (head?.sealed && (seq >= head.entries || head.prunedAt !== undefined)) {
        response.write(formatServerSentEvent('sealed', { entries: head.entries, headHash: head.headHash }));
        return;
      }
      if (hasNews || !open) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      wake = undefined;
    }
  } finally {
    clearInterval(heartbeat);
    for (const end of unsubscribe) end();
    response.off('close', close);
    signal.removeEventListener('abort', close);
    response.end();
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });
}
