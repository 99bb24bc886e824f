// The rehearsal server: the Messages API over plain HTTP, answered from rules. A stand-in for
// Claude.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import path from 'node:path';
import { OplabError } from '../errors.ts';
import { formatServerSentEvent } from '../net/server-sent-events.ts';
import { decide } from './engine.ts';
import { buildEvents, decisionMessage, type RehearsalMessage, textMessage } from './message.ts';
import { oneLiner } from './one-liner.ts';
import { type ApiError, parseRequest, REHEARSAL_MODEL } from './request.ts';
import { loadRules, type RuleBook } from './rule.ts';

const MAX_BODY_BYTES = 32 * 1024 * 1024;

/** The rules shipped with oplab, next to this file and next to the bundle. */
export const DEFAULT_RULES = path.join(import.meta.dirname, 'rules');

export interface RehearsalServer {
  readonly url: string;
  close(): Promise<void>;
}

async function readBody(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    const part = Buffer.from(chunk);
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new OplabError('OPLAB_TOO_LARGE', 'Request exceeds the maximum size');
    chunks.push(part);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/** The answer to a request. A request without tools is meant for the small model. */
function answerTo(book: RuleBook, body: unknown): { message: RehearsalMessage; stream: boolean } | { error: ApiError } {
  const parsed = parseRequest(body);
  if ('error' in parsed) return parsed;
  const { request } = parsed;
  const { stream } = request;
  if (request.tools === undefined || request.tools.length === 0) {
    return { message: textMessage(request, oneLiner(request.messages)), stream };
  }
  const names = request.tools.map((tool) => tool.name);
  if (!names.includes('shell') || !names.includes('conclude')) {
    return {
      message: textMessage(request, 'This rehearsal model supports only the tools shell and conclude.'),
      stream,
    };
  }
  const decision = decide(book, request.messages);
  const message =
    decision === undefined
      ? textMessage(request, 'No rule of this rehearsal model applies here.')
      : decisionMessage(request, decision);
  return { message, stream };
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Starts the server. Port 0 selects any free port. */
export async function startRehearsal(
  options: { readonly port?: number; readonly rulesDir?: string; readonly host?: string } = {},
): Promise<RehearsalServer> {
  const book = await loadRules(options.rulesDir ?? DEFAULT_RULES);
  let requests = 0;

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(incoming.url ?? '/', 'http://rehearsal');
    response.setHeader('request-id', `req_rehearsal_${++requests}`);
    const fail = ({ status, type, message }: ApiError) =>
      send(response, status, { type: 'error', error: { type, message } });
    if (incoming.method === 'GET' && pathname === '/healthz') return send(response, 200, { status: 'ok' });
    const [, model] = /^\/v1\/models\/([^/]+)$/.exec(pathname) ?? [];
    if (incoming.method === 'GET' && model !== undefined) {
      if (model !== REHEARSAL_MODEL) return fail({ status: 404, type: 'not_found_error', message: `model: ${model}` });
      return send(response, 200, { type: 'model', id: model, display_name: 'Rehearsal 1, a stand-in for Claude' });
    }
    if (incoming.method !== 'POST' || pathname !== '/v1/messages') {
      return fail({
        status: 404,
        type: 'not_found_error',
        message: `no such endpoint: ${incoming.method} ${pathname}`,
      });
    }
    let body: unknown;
    try {
      body = await readBody(incoming);
    } catch (error) {
      if (error instanceof OplabError) return fail({ status: 413, type: 'request_too_large', message: error.message });
      return fail({ status: 400, type: 'invalid_request_error', message: 'The request body is not valid JSON' });
    }
    const answer = answerTo(book, body);
    if ('error' in answer) return fail(answer.error);
    if (!answer.stream) return send(response, 200, answer.message);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    for (const event of buildEvents(answer.message)) response.write(formatServerSentEvent(event.type, event));
    response.end();
  }

  const server = createServer((incoming, response) => {
    response.on('error', () => undefined);
    handle(incoming, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 500, { type: 'error', error: { type: 'api_error', message: String(error) } });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, options.host ?? '0.0.0.0', resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
