// Reads the log through the gateway's read API. It reconnects and resumes after gateway restarts.

import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { type LogLeaf, logLeaf, signedNotes } from '../../audit/checkpoint.ts';
import { type Entry, parseEntry } from '../../audit/entry.ts';
import { type SessionSummary, sessionSummary } from '../../audit/log.ts';
import { errorMessage, GatewayUnreachable, InvalidInput, NotFound, OplabError } from '../../errors.ts';
import { liveChunk } from '../../gateway/protocol.ts';
import { errorBody } from '../../net/error-body.ts';
import { serverSentEvents } from '../../net/server-sent-events.ts';
import type { AuditReader, FollowEvent, FollowOptions, OpeningEvent, Waiting } from './audit-reader.ts';

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
  let connection: Promise<GatewayConnection> | undefined;

  /** One connection for all requests that run at the same time. */
  const connected = (): Promise<GatewayConnection> => {
    if (connection === undefined) {
      const opening = connect();
      connection = opening;
      opening.catch(() => {
        if (connection === opening) connection = undefined;
      });
    }
    return connection;
  };
  /** Closes a connection that failed. One that another request has opened since stays open. */
  const drop = async (failed: Promise<GatewayConnection> | undefined = connection) => {
    if (failed === undefined || failed !== connection) return;
    connection = undefined;
    const opened = await failed.catch(() => undefined);
    await opened?.close();
  };

  /**
   * The response, whose body is not read yet.
   * @throws NotFound, GatewayUnreachable, or the error that the gateway reports
   */
  const open = async (path: string, signal: AbortSignal, via = connected()): Promise<Response> => {
    const current = await via;
    let response: Response;
    try {
      response = await fetch(current.url + path, { signal });
    } catch (error) {
      const reason = current.lastError ?? describeCause(error);
      await drop(via);
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
  const get = async (path: string, signal?: AbortSignal): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      const via = connected();
      try {
        const limits = [AbortSignal.timeout(REQUEST_TIMEOUT_MS), ...(signal === undefined ? [] : [signal])];
        const response = await open(path, AbortSignal.any(limits), via);
        // response.text() would drop a byte order mark, without which a text does not fit its digest.
        return Buffer.from(await response.arrayBuffer()).toString('utf8');
      } catch (error) {
        const final = error instanceof OplabError && !(error instanceof GatewayUnreachable);
        if (final || attempt >= ATTEMPTS || signal?.aborted) {
          if (error instanceof OplabError) throw error;
          throw new GatewayUnreachable(`the gateway's response was cut off: ${describeCause(error)}`, error);
        }
        await drop(via);
        await sleep(retryMs);
      }
    }
  };

  const leaves = (from: number, signal?: AbortSignal): Promise<LogLeaf[] | undefined> =>
    orUndefined(async () => {
      const found: LogLeaf[] = [];
      for (;;) {
        const page = await get(`/api/v1/log/leaves?from=${from + found.length}`, signal);
        const { items } = leafList.parse(JSON.parse(page));
        if (items.length === 0) return found;
        found.push(...items);
      }
    });

  const session = (id: string, signal?: AbortSignal): Promise<SessionSummary | undefined> =>
    orUndefined(async () =>
      sessionSummary.parse(JSON.parse(await get(`/api/v1/sessions/${encodeURIComponent(id)}`, signal))),
    );

  async function* followOnce(
    id: string,
    afterSeq: number,
    outer: AbortSignal,
    via: Promise<GatewayConnection>,
  ): AsyncGenerator<FollowEvent> {
    const silence = new AbortController();
    const signal = AbortSignal.any([outer, silence.signal]);
    const watchdog = setTimeout(
      () => silence.abort(new Error('the gateway has stopped sending heartbeats')),
      silenceMs,
    );
    try {
      const response = await open(
        `/api/v1/sessions/${encodeURIComponent(id)}/stream?afterSeq=${afterSeq}`,
        signal,
        via,
      );
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
    const waits = waitingReporter();
    while (!signal.aborted) {
      const via = connected();
      let waiting: Waiting = { reason: 'the stream ended' };
      try {
        for await (const event of followOnce(id, seen, signal, via)) {
          waits.over();
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
        waiting = requireTransient(error);
        if (!(error instanceof NotFound)) await drop(via);
      }
      if (signal.aborted) return;
      if (waits.isNew(waiting)) yield { type: 'waiting', ...waiting };
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async function* openings(from: number, signal: AbortSignal): AsyncGenerator<OpeningEvent> {
    let next = from;
    const waits = waitingReporter();
    while (!signal.aborted) {
      try {
        const added = await leaves(next, signal);
        if (added === undefined) {
          throw new InvalidInput(
            'this gateway is of an earlier version and does not tell new sessions; name an Incident',
          );
        }
        waits.over();
        for (const { index, event, session: id } of added) {
          const summary = event === 'opened' ? await session(id, signal) : undefined;
          if (summary !== undefined) yield { type: 'opened', summary };
          next = index + 1;
        }
      } catch (error) {
        if (signal.aborted) return;
        const waiting = requireTransient(error);
        if (waits.isNew(waiting)) yield { type: 'waiting', ...waiting };
      }
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  return {
    source: 'gateway',
    sessions: async (): Promise<SessionSummary[]> => sessionList.parse(JSON.parse(await get('/api/v1/sessions'))).items,
    session: (id) => session(id),
    async entries(id, read = {}): Promise<Entry[]> {
      const query = new URLSearchParams({ afterSeq: String(read.afterSeq ?? 0) });
      if (read.limit !== undefined) query.set('limit', String(read.limit));
      const text = await get(`/api/v1/sessions/${encodeURIComponent(id)}/entries?${query}`);
      return entryList.parse(JSON.parse(text)).items.map(parseEntry);
    },
    follow,
    openings,
    leaves: (from) => leaves(from),
    async signature() {
      // The notes come first, so that the leaves are at least as many as they cover.
      const view = await orUndefined(async () => logView.parse(JSON.parse(await get('/api/v1/log'))));
      const all = view === undefined ? undefined : await leaves(0);
      if (view === undefined || all === undefined) return undefined;
      return { leaves: all, notes: view.notes ?? undefined, publicKey: view.publicKey };
    },
    // A gateway does not serve a file with imported sessions.
    importedProof: async () => undefined,
    async blob(digest) {
      try {
        return await get(`/api/v1/blobs/${encodeURIComponent(digest)}`);
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw error;
      }
    },
    close: () => drop(),
  };
}

/** Why to wait. @throws the error itself, if waiting does not help */
function requireTransient(error: unknown): Waiting {
  if (error instanceof z.ZodError || error instanceof SyntaxError || error instanceof InvalidInput) throw error;
  if (error instanceof OplabError) return { reason: error.message, code: error.code };
  return { reason: describeCause(error) };
}

/** Tells each reason once, until the waiting is over. */
function waitingReporter() {
  let reported = '';
  return {
    over: () => {
      reported = '';
    },
    isNew: ({ reason }: Waiting) => {
      const isNew = reason !== reported;
      reported = reason;
      return isNew;
    },
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
