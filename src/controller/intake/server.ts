// The intake's HTTP server. It answers 200 only after a delivery is in the API server.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { ERRORS } from '../../error-codes.ts';
import { IntakeUnavailable, InvalidInput, NotFound, OplabError, Unauthenticated } from '../../errors.ts';
import { parseJson, readBody } from '../../net/http-answer.ts';
import { createTlsServer, listen } from '../../net/tls-server.ts';
import type { Logger } from '../../observability/logger.ts';
import type { Alert } from './alert.ts';
import { alertmanagerPayload, alertsFromAlertmanager } from './alertmanager.ts';
import { type BearerToken, requireToken } from './bearer-token.ts';
import type { Intake, Receipt } from './intake.ts';
import type { ConfiguredRoute } from './route.ts';
import { alertsFromWebhook, webhookPayload } from './webhook.ts';

/** A route with the token of its senders. */
export type ServedRoute = ConfiguredRoute & { readonly token: Pick<BearerToken, 'check'> };

export interface IntakeServerOptions {
  readonly intake: Pick<Intake, 'take'>;
  readonly routes: readonly ServedRoute[];
  /** 0 picks a free port. */
  readonly port: number;
  readonly host?: string;
  /** Without it, the server speaks plain HTTP. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly log: Logger;
  /** `path` is that of the parser, without the route. Undefined: no such path. */
  readonly onAnswer?: (path: string | undefined, status: number, seconds: number) => void;
}

export interface IntakeServer {
  readonly port: number;
  /** Stops accepting requests, and resolves when the pending ones have been answered. */
  close(): Promise<void>;
}

/** The largest delivery, in bytes: a few thousand alerts. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** How long a closing server waits for pending requests, in ms. */
const CLOSE_WAIT_MS = 5000;
/** How long senders should wait before they send again, in seconds. */
const RETRY_AFTER = '5';

interface Answer {
  readonly status: number;
  readonly body: {
    readonly error?: { readonly code: string; readonly message: string };
    readonly alerts?: readonly Receipt[];
  };
}

/** Starts the server; resolves when it listens. */
export async function startIntakeServer(options: IntakeServerOptions): Promise<IntakeServer> {
  const { tls, log, port, host } = options;
  const closing = new AbortController();
  const handler = (request: IncomingMessage, response: ServerResponse) => {
    const began = performance.now();
    const called = splitPath(request.url ?? '/');
    answer(options, called, request)
      .catch((error: unknown) => errorAnswer(error, log))
      .then(({ status, body }) => {
        options.onAnswer?.(called?.path, status, (performance.now() - began) / 1000);
        const text = JSON.stringify(body);
        response.writeHead(status, {
          'content-type': 'application/json; charset=utf-8',
          'content-length': Buffer.byteLength(text),
          ...(status === 503 ? { 'retry-after': RETRY_AFTER } : {}),
          ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
          // The unread rest of a refused body would be parsed as the next request. A closing server
          // accepts no further requests.
          ...(request.complete && !closing.signal.aborted ? {} : { connection: 'close' }),
        });
        response.end(text);
      });
  };
  const server: Server =
    tls === undefined ? createServer(handler) : createTlsServer(tls, handler, { logger: log, signal: closing.signal });
  // Senders do not retry after a 408, so these limits leave room for a slow moment of this process.
  server.headersTimeout = 30_000;
  server.requestTimeout = 60_000;
  server.keepAliveTimeout = 75_000;
  const listening = await listen(server, port, host);
  return {
    port: listening,
    close: () =>
      new Promise((resolve) => {
        closing.abort();
        const timer = setTimeout(() => server.closeAllConnections(), CLOSE_WAIT_MS);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** The path of a parser, and the name of a route behind it. */
interface CalledPath {
  readonly path: string;
  readonly routeName: string;
}

function splitPath(url: string): CalledPath | undefined {
  const [, path, routeName] = /^(\/[a-z]+)\/([a-z0-9-]+)(?:\?.*)?$/.exec(url) ?? [];
  return path === undefined || routeName === undefined || PARSERS[path] === undefined ? undefined : { path, routeName };
}

async function answer(
  options: IntakeServerOptions,
  called: CalledPath | undefined,
  request: IncomingMessage,
): Promise<Answer> {
  const parse = called === undefined ? undefined : PARSERS[called.path];
  if (called === undefined || parse === undefined || request.method !== 'POST') {
    throw new NotFound('the intake serves POST /alertmanager/ROUTE and POST /webhook/ROUTE only');
  }
  const served = options.routes.find(({ name }) => name === called.routeName);
  // Who has no token does not learn which routes there are.
  if (served === undefined) {
    requireToken(request.headers.authorization);
    throw new Unauthenticated('the token is not valid for this route');
  }
  // Checked before the body is read, so that unauthenticated senders cause no work.
  await served.token.check(request.headers.authorization);
  if (served.route === undefined) throw new IntakeUnavailable(`route ${served.name} is disabled: ${served.problem}`);
  const alerts = parse(await readBody(request, MAX_BODY_BYTES), options.log);
  const receipts = await options.intake.take(served.route, alerts);
  const failed = receipts.filter(({ result }) => result === 'failed');
  const refused = receipts.filter(({ result }) => result === 'refused');
  // A retry is right if it can help at least one alert. It is harmless for accepted ones.
  const problem = failed[0]?.error ?? refused[0]?.error;
  if (problem === undefined) return { status: 200, body: { alerts: receipts } };
  const count = `${failed.length + refused.length} of ${receipts.length} alerts not accepted`;
  const error = { code: problem.code, message: `${count}; ${problem.message}` };
  return { status: ERRORS[problem.code].status, body: { error, alerts: receipts } };
}

const PARSERS: Readonly<Record<string, (body: Buffer, log: Logger) => Alert[]>> = {
  '/alertmanager': (body, log) => {
    const payload = parseJson(body, alertmanagerPayload);
    if (payload.truncatedAlerts > 0) {
      log.warn(
        { left: payload.truncatedAlerts },
        'Alertmanager left alerts out of a group: increase max_alerts of the receiver',
      );
    }
    return alertsFromAlertmanager(payload);
  },
  '/webhook': (body) => {
    if (body.length === 0) throw new InvalidInput('the body is empty; send an alert or a list of alerts');
    return alertsFromWebhook(parseJson(body, webhookPayload), new Date());
  },
};

function errorAnswer(error: unknown, log: Logger): Answer {
  if (!(error instanceof OplabError)) log.error({ err: error }, 'the intake failed');
  const known =
    error instanceof OplabError ? error : new IntakeUnavailable('the intake failed; its log says why', error);
  return { status: ERRORS[known.code].status, body: { error: { code: known.code, message: known.message } } };
}
