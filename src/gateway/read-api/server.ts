// The read API: sessions, entries, blobs and a live stream, for the CLI and the page. It listens
// only on the pod's loopback interface: access is controlled by the Kubernetes permission to
// port-forward.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import * as z from 'zod';
import type { AuditLog, SessionTree } from '../../audit/log.ts';
import { errorMessage } from '../../errors.ts';
import { parseInput } from '../../input/parse-input.ts';
import { sendJson, sendRefusal } from '../../net/http-answer.ts';
import type { Logger } from '../../observability/logger.ts';
import type { LiveOutput } from '../live-output.ts';
import { streamSession } from './stream.ts';

export interface ReadApi {
  readonly log: AuditLog & SessionTree;
  /** The public key of the log. */
  readonly publicKey: string;
  readonly live: LiveOutput;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const MAX_LIMIT = 1000;
const leafPage = z.object({
  from: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(MAX_LIMIT),
});
const page = z.object({
  afterSeq: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(200),
});

/** Creates the server. It does not listen yet. */
export function createReadApi(api: ReadApi): Server {
  const server = createServer((request, response) => {
    request.resume();
    answer(api, request, response).catch((error: unknown) => {
      api.logger.warn({ error: errorMessage(error), path: request.url }, 'the read API failed');
      sendRefusal(response, error);
    });
  });
  server.requestTimeout = 15_000;
  return server;
}

async function answer(api: ReadApi, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const notFound = (what: string) => sendJson(response, 404, { error: { code: 'OPLAB_NOT_FOUND', message: what } });
  // Prevents DNS rebinding: a web page must not read the API through a name that resolves to
  // loopback.
  if (!/^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(request.headers.host ?? '')) {
    sendJson(response, 403, {
      error: { code: 'OPLAB_NOT_ALLOWED', message: 'the Host header must be localhost or 127.0.0.1' },
    });
    return;
  }
  if (request.method !== 'GET') {
    sendJson(response, 405, {
      error: { code: 'OPLAB_NOT_ALLOWED', message: `method ${request.method} is not allowed: this API is read-only` },
    });
    return;
  }
  const [root, version, collection, id, part, ...more] = url.pathname.split('/').slice(1).map(decodeURIComponent);
  if (root !== 'api' || version !== 'v1' || more.length > 0) {
    notFound(`${url.pathname} does not exist`);
    return;
  }
  if (collection === 'sessions' && id === undefined) {
    sendJson(response, 200, { items: await api.log.sessions() });
    return;
  }
  if (collection === 'blobs' && id !== undefined && part === undefined) {
    const text = await api.log.blob(id);
    if (text === undefined) {
      notFound(`blob ${id} is not in the log or was pruned`);
      return;
    }
    response.writeHead(200, {
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
    return;
  }
  if (collection === 'log' && id === undefined) {
    sendJson(response, 200, { publicKey: api.publicKey, notes: (await api.log.signedNotes('signed')) ?? null });
    return;
  }
  if (collection === 'log' && id === 'leaves' && part === undefined) {
    const asked = parseInput(leafPage, Object.fromEntries(url.searchParams), 'query parameters', { values: 'shown' });
    sendJson(response, 200, { items: await api.log.leaves(asked.from, asked.limit) });
    return;
  }
  if (collection !== 'sessions' || id === undefined) {
    notFound(`${url.pathname} does not exist`);
    return;
  }
  const { log } = api;
  if (part === undefined) {
    const summary = (await log.sessions()).find(({ session }) => session === id);
    if (summary === undefined) notFound(`session ${id} is not in the log`);
    else sendJson(response, 200, summary);
    return;
  }
  if (part !== 'entries' && part !== 'stream') {
    notFound(`${url.pathname} does not exist`);
    return;
  }
  if ((await log.head(id)) === undefined) {
    notFound(`session ${id} is not in the log`);
    return;
  }
  const { afterSeq, limit } = parseInput(page, Object.fromEntries(url.searchParams), 'query parameters', {
    values: 'shown',
  });
  if (part === 'entries') {
    sendJson(response, 200, { items: await log.read(id, { afterSeq, limit }) });
    return;
  }
  // A browser that reconnects sends the last id that it received.
  const resumed = Number(request.headers['last-event-id'] ?? 0);
  const from = Number.isInteger(resumed) && resumed > afterSeq ? resumed : afterSeq;
  await streamSession({ log, live: api.live }, id, from, response, api.signal);
}
