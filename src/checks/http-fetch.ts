// One bounded GET: no redirects, no credentials, a time limit and a size limit.

import http from 'node:http';
import https from 'node:https';

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

export const httpFetch: HttpFetch = (request, signal) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new Error('not asked any more'));
      return;
    }
    const options: https.RequestOptions = {
      method: 'GET',
      host: request.host,
      port: request.port,
      path: request.path,
      headers: {
        host: request.hostHeader,
        accept: 'application/json, */*',
        'user-agent': 'oplab-verify',
        connection: 'close',
      },
      agent: false,
      // What is asked is whether the service works, and the answer gains nobody any rights.
      ...(request.scheme === 'https'
        ? { rejectUnauthorized: false, servername: request.hostHeader.split(':')[0] ?? '' }
        : {}),
    };
    const outgoing = (request.scheme === 'https' ? https : http).request(options);
    const onAbort = () => fail(new Error('no answer in time'));
    const fail = (error: Error) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      outgoing.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error(`no answer within ${TIME_LIMIT_MS} ms`)), TIME_LIMIT_MS);
    signal?.addEventListener('abort', onAbort, { once: true });
    outgoing.on('error', fail);
    outgoing.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BODY_BYTES) fail(new Error(`the answer is larger than ${MAX_BODY_BYTES} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('close', () => {
        if (!response.complete) fail(new Error('the answer was cut off'));
      });
      response.on('end', () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') });
      });
    });
    outgoing.end();
  });
