// One bounded GET: no redirects, no credentials, a time limit and a size limit.

import { readAnswer } from '../net/answer-body.ts';
import { openRequest } from '../net/request.ts';

export interface HttpRequest {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** The Host header, and the TLS server name. */
  readonly hostHeader: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * Fetches or throws an Error that says why not; ends when the signal aborts. Tests pass in their
 * own.
 */
export type HttpFetch = (request: HttpRequest, signal?: AbortSignal) => Promise<HttpAnswer>;

const TIME_LIMIT_MS = 5000;
const MAX_BODY_BYTES = 1024 * 1024;

export const httpFetch: HttpFetch = async ({ scheme, host, port, path, hostHeader }, signal) => {
  signal?.throwIfAborted();
  const outgoing = openRequest({
    url: new URL(`${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`),
    path,
    headers: {
      host: hostHeader,
      accept: 'application/json, */*',
      'user-agent': 'oplab-verify',
      connection: 'close',
    },
    // What is asked is whether the service works, and the answer gains nobody any rights.
    tls: { rejectUnauthorized: false, servername: hostHeader.split(':')[0] ?? '' },
    limits: { head: TIME_LIMIT_MS, whole: TIME_LIMIT_MS },
  });
  outgoing.body.end();
  const response = await outgoing.receiveResponse(signal);
  const body = await readAnswer(response, MAX_BODY_BYTES, { signal });
  return { status: response.statusCode ?? 0, body: body.toString('utf8') };
};
