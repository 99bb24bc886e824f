// Reads the log through the gateway's read API. It reconnects and resumes after gateway restarts.

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type LogLeaf, logLeaf, signedNotes } from '../../audit/checkpoint.ts';
import { type Entry, parseEntry } from '../../audit/entry.ts';
import { type SessionSummary, sessionSummary } from '../../audit/log.ts';
import type { ErrorCode } from '../../error-codes.ts';
import { errorMessage, GatewayUnreachable, InvalidInput, NotFound, OplabError } from '../../errors.ts';
import { liveChunk } from '../../gateway/protocol.ts';
import { errorBody } from '../../net/error-body.ts';
import { serverSentEvents } from '../../net/server-sent-events.ts';
import type { AuditReader, FollowEvent, FollowOptions } from './audit-reader.ts';

/** A connection to the read API, such as a port-forward. */
export interface GatewayConnection {
  /** For example http://127.0.0.1:43210 */
  readonly url: string;
  /** The last error of the port-forward, which explains a failed request better than fetch does. */
  readonly lastError?: string | undefined;
  close(): Promise<void>;
}

export interface GatewayReaderOptions {
  /** Connects to the running gateway; called again after each failure. */
  readonly connect: () => Promise<GatewayConnection>;
  /** The pause between retries, in milliseconds. */
  readonly retryMs?: number;
  /** A stream without data or heartbeats for this long is considered dead, in milliseconds. */
  readonly silenceMs?: number;
}

const REQUEST_TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;
/** fetch's complete error message for a port that it blocks. */
const BAD_PORT = 'bad port';

/** The answer with the sessions of a log. */
export const sessionList = z.object({ items: z.array(sessionSummary) });
const logView = z.object({ publicKey: z.string(), notes: signedNotes.nullable() });
const leafList = z.object({ items: z.array(logLeaf) });
const entryList = z.object({ items: z.array(z.unknown()) });

/** A reader over HTTP. The first request opens the connection. */
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

  /**
   * The response, whose body is not read yet.
   * @throws NotFound, GatewayUnreachable, or the error that the gateway reports
   */
  const open = async (path: string, signal?: AbortSignal): Promise<Response> => {
    const current = await connected();
    let response: Response;
    try {
      response = await fetch(current.url + path, signal === undefined ? {} : { signal });
    } catch (error) {
      const reason = current.lastError ?? describeCause(error);
      await drop();
      if (reason === BAD_PORT) {
        throw new InvalidInput(
          `--gateway ${current.url}: this port is reserved for another protocol, and fetch blocks it (https://fetch.spec.whatwg.org/#port-blocking); forward the gateway to another port: kubectl -n oplab-system port-forward deploy/oplab-gateway 8080`,
          error,
        );
      }
      throw new GatewayUnreachable(`the gateway's read API cannot be reached: ${reason}`, error);
    }
    if (response.ok) return response;
    throw refusal(response.status, await response.text().catch(() => ''));
  };

  /**
   * Retries on a new connection: reads have no side effects, and a restarting gateway is back
   * within seconds.
   */
  const get = async (path: string): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const response = await open(path, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
        return await response.text();
      } catch (error) {
        const final = error instanceof OplabError && !(error instanceof GatewayUnreachable);
        if (final || attempt >= ATTEMPTS) {
          if (error instanceof OplabError) throw error;
          throw new GatewayUnreachable(`the gateway's response was cut off: ${describeCause(error)}`, error);
        }
        await drop();
        await sleep(retryMs);
      }
    }
  };

  const leaves = (from: number): Promise<LogLeaf[] | undefined> =>
    orUndefined(async () => {
      const found: LogLeaf[] = [];
      for (;;) {
        const { items } = leafList.parse(JSON.parse(await get(`/api/v1/log/leaves?from=${from + found.length}`)));
        if (items.length === 0) return found;
        found.push(...items);
      }
    });

  async function* followOnce(id: string, afterSeq: number, outer: AbortSignal): AsyncGenerator<FollowEvent> {
    const silence = new AbortController();
    const signal = AbortSignal.any([outer, silence.signal]);
    const watchdog = setTimeout(
      () => silence.abort(new Error('the gateway has stopped sending heartbeats')),
      silenceMs,
    );
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
    let reported = '';
    while (!signal.aborted) {
      let reason = 'the stream ended';
      let code: ErrorCode | undefined;
      try {
        for await (const event of followOnce(id, seen, signal)) {
          reported = '';
          if (event.type === 'entry') {
            // The gateway should resume after `seen`; this check ensures that nothing is repeated.
            if (event.entry.seq <= seen) continue;
            seen = event.entry.seq;
          }
          yield event;
          if (event.type === 'sealed') return;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof InvalidInput) throw error;
        reason = error instanceof OplabError ? error.message : describeCause(error);
        code = error instanceof OplabError ? error.code : undefined;
        if (!(error instanceof NotFound)) await drop();
      }
      if (signal.aborted) return;
      if (reason !== reported) yield { type: 'waiting', reason, code };
      reported = reason;
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
    leaves,
    async signature() {
      // The notes come first, so that the leaves are at least as many as they cover.
      const view = await orUndefined(async () => logView.parse(JSON.parse(await get('/api/v1/log'))));
      const all = view === undefined ? undefined : await leaves(0);
      if (view === undefined || all === undefined) return undefined;
      return { leaves: all, notes: view.notes ?? undefined, publicKey: view.publicKey };
    },
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

/** Undefined for what a gateway of an earlier version does not serve. */
async function orUndefined<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof NotFound) return undefined;
    throw error;
  }
}

/** The error behind fetch's generic "fetch failed". */
function describeCause(error: unknown): string {
  return error instanceof Error && error.cause !== undefined ? errorMessage(error.cause) : errorMessage(error);
}

function refusal(status: number, body: string): OplabError {
  let parsed: ReturnType<typeof errorBody.safeParse> | undefined;
  try {
    parsed = errorBody.safeParse(JSON.parse(body));
  } catch {
    // The body is not from the gateway itself.
  }
  const message = parsed?.success ? parsed.data.error.message : `HTTP ${status} ${body.slice(0, 200)}`.trim();
  // A 404 without the gateway's body comes from another server, and says nothing about the log.
  if (status === 404 && parsed?.success) return new NotFound(message);
  if (status >= 500) return new GatewayUnreachable(`the gateway cannot serve the request at the moment: ${message}`);
  return new OplabError('OPLAB_GATEWAY_REFUSED', message);
}
