// The log behind the gateway's read API. Survives restarts of the gateway: it connects again and goes on where it was.

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Entry, parseEntry } from '../../audit/entry.ts';
import type { SessionSummary } from '../../audit/log.ts';
import { GatewayUnreachable, InvalidInput, messageOf, NotFound, OplabError } from '../../errors.ts';
import { liveChunk } from '../../gateway/protocol.ts';
import { errorBody } from '../../net/error-body.ts';
import { serverSentEvents } from '../../net/server-sent-events.ts';
import type { AuditReader, FollowEvent, FollowOptions } from './audit-reader.ts';

/** A way to the read API, such as a port-forward. */
export interface GatewayConnection {
  /** For example http://127.0.0.1:43210 */
  readonly url: string;
  /** What the way itself has to say about a failure. */
  readonly lastError?: string | undefined;
  close(): Promise<void>;
}

export interface GatewayReaderOptions {
  /** Opens a way to the gateway that runs now; called again after each failure. */
  readonly connect: () => Promise<GatewayConnection>;
  /** Pause before the next try of a follower, in milliseconds. */
  readonly retryMs?: number;
  /** A stream without even a heartbeat for so long is dead, in milliseconds. */
  readonly silenceMs?: number;
}

const REQUEST_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;
/** All that fetch says of an address with a port that it blocks. */
const BAD_PORT = 'bad port';

const sessionSummary = z.object({
  session: z.string(),
  incident: z.object({ namespace: z.string(), name: z.string(), uid: z.string() }),
  summary: z.string(),
  openedAt: z.string(),
  lastAt: z.string(),
  entries: z.number(),
  headHash: z.string(),
  sealed: z.boolean(),
  outcome: z.string().nullable(),
});
const sessionList = z.object({ items: z.array(sessionSummary) });
const entryList = z.object({ items: z.array(z.unknown()) });

/** A reader over HTTP. The first connection is made by the first request. */
export function openGatewayReader(options: GatewayReaderOptions): AuditReader {
  const { connect, retryMs = 1000, silenceMs = 60_000 } = options;
  let connection: GatewayConnection | undefined;

  const connected = async () => {
    connection ??= await connect();
    return connection;
  };
  const drop = async () => {
    const dropped = connection;
    connection = undefined;
    await dropped?.close();
  };

  /** The answer, of which the body is still to be read. @throws NotFound, GatewayUnreachable, or what the gateway says */
  const open = async (path: string, signal?: AbortSignal): Promise<Response> => {
    const way = await connected();
    let response: Response;
    try {
      response = await fetch(way.url + path, signal === undefined ? {} : { signal });
    } catch (error) {
      const reason = way.lastError ?? causeOf(error);
      await drop();
      if (reason === BAD_PORT) {
        throw new InvalidInput(
          `--gateway ${way.url}: fetch blocks this port, which belongs to another protocol (https://fetch.spec.whatwg.org/#port-blocking); forward the gateway to another one: kubectl -n oplab-system port-forward deploy/oplab-gateway 8080`,
          error,
        );
      }
      throw new GatewayUnreachable(`the gateway's read API cannot be reached: ${reason}`, error);
    }
    if (response.ok) return response;
    throw refusal(response.status, await response.text().catch(() => ''));
  };

  /** Tries again on a new connection: reads are free of effects, and a gateway that restarts is away for seconds only. */
  const get = async (path: string): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await open(path, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
        return await response.text();
      } catch (error) {
        const final = error instanceof OplabError && !(error instanceof GatewayUnreachable);
        if (final || attempt >= ATTEMPTS) {
          if (error instanceof OplabError) throw error;
          throw new GatewayUnreachable(`the gateway's answer was cut off: ${causeOf(error)}`, error);
        }
        await drop();
        await sleep(retryMs);
      }
    }
  };

  async function* followOnce(id: string, afterSeq: number, outer: AbortSignal): AsyncGenerator<FollowEvent> {
    const silence = new AbortController();
    const signal = AbortSignal.any([outer, silence.signal]);
    const watchdog = setTimeout(() => silence.abort(new Error('no sign of life')), silenceMs);
    try {
      const response = await open(`/api/v1/sessions/${encodeURIComponent(id)}/stream?afterSeq=${afterSeq}`, signal);
      if (response.body === null) return;
      for await (const event of serverSentEvents(response.body)) {
        watchdog.refresh();
        if (event.type === 'entry') yield { type: 'entry', entry: parseEntry(JSON.parse(event.data)) };
        else if (event.type === 'live') yield { type: 'live', chunk: liveChunk.parse(JSON.parse(event.data)) };
        else if (event.type === 'sealed') yield { type: 'sealed' };
      }
    } finally {
      clearTimeout(watchdog);
      silence.abort();
    }
  }

  async function* follow(id: string, { afterSeq = 0, signal }: FollowOptions): AsyncGenerator<FollowEvent> {
    let seen = afterSeq;
    let told = '';
    while (!signal.aborted) {
      let reason = 'the stream ended';
      try {
        for await (const event of followOnce(id, seen, signal)) {
          told = '';
          if (event.type === 'entry') {
            // After a reconnect the gateway starts where it is asked to; this makes sure of it.
            if (event.entry.seq <= seen) continue;
            seen = event.entry.seq;
          }
          yield event;
          if (event.type === 'sealed') return;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof InvalidInput) throw error;
        reason = error instanceof OplabError ? error.message : causeOf(error);
        if (!(error instanceof NotFound)) await drop();
      }
      if (signal.aborted) return;
      if (reason !== told) yield { type: 'waiting', reason };
      told = reason;
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    source: 'gateway',
    sessions: async (): Promise<SessionSummary[]> => sessionList.parse(JSON.parse(await get('/api/v1/sessions'))).items,
    async session(id) {
      try {
        return sessionSummary.parse(JSON.parse(await get(`/api/v1/sessions/${encodeURIComponent(id)}`)));
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw error;
      }
    },
    async entries(id, read = {}): Promise<Entry[]> {
      const query = new URLSearchParams({ afterSeq: String(read.afterSeq ?? 0) });
      if (read.limit !== undefined) query.set('limit', String(read.limit));
      const text = await get(`/api/v1/sessions/${encodeURIComponent(id)}/entries?${query}`);
      return entryList.parse(JSON.parse(text)).items.map(parseEntry);
    },
    follow,
    async blob(digest) {
      try {
        return await get(`/api/v1/blobs/${encodeURIComponent(digest)}`);
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw error;
      }
    },
    close: drop,
  };
}

/** What fetch hides behind "fetch failed". */
function causeOf(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
}

function refusal(status: number, body: string): OplabError {
  let parsed: ReturnType<typeof errorBody.safeParse> | undefined;
  try {
    parsed = errorBody.safeParse(JSON.parse(body));
  } catch {
    // Not the gateway's own words.
  }
  const message = parsed?.success ? parsed.data.error.message : `HTTP ${status} ${body.slice(0, 200)}`.trim();
  if (status === 404) return new NotFound(message);
  if (status >= 500) return new GatewayUnreachable(`the gateway cannot serve now: ${message}`);
  return new OplabError('OPLAB_GATEWAY_REFUSED', message);
}
