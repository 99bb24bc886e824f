// One HTTP exchange with the API server: keep-alive, time-outs, bounded answers, typed errors.

import http from 'node:http';
import https from 'node:https';
import { OplabError } from '../errors.ts';
import type { KubeServer, TlsOptions } from './credentials.ts';
import { KubeError, kubeErrorFrom } from './errors.ts';

export interface ExchangeOptions {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly body?: object | undefined;
  readonly contentType?: string;
  readonly accept?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Transport {
  /** The whole body of an answer below 400. @throws KubeError */
  exchange(options: ExchangeOptions): Promise<string>;
  /** The answer as a stream, once its head is here; the caller ends it. @throws KubeError */
  open(options: ExchangeOptions): Promise<http.IncomingMessage>;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/**
 * Maximum number of concurrent ordinary calls. Waiting costs less than a TLS handshake for each
 * call.
 */
const MAX_SOCKETS = 32;
/**
 * Far above etcd's limit for one object and a page of 500 pods. It protects memory from a faulty
 * server.
 */
const MAX_BODY_BYTES = 128 * 1024 * 1024;
/** How long certificates and CA are used before the files are read again, in milliseconds. */
const TLS_REREAD_MS = 10_000;

export function createTransport(server: KubeServer, userAgent = 'oplab'): Transport {
  const secure = server.url.protocol === 'https:';
  const agentOptions = { keepAlive: true, keepAliveMsecs: 15_000, scheduling: 'lifo' as const };
  const newAgent = (maxSockets: number) =>
    secure ? new https.Agent({ ...agentOptions, maxSockets }) : new http.Agent({ ...agentOptions, maxSockets });
  const agent = newAgent(MAX_SOCKETS);
  // Streams hold their connections for minutes; they must not use up those of ordinary calls.
  const streamAgent = newAgent(Number.POSITIVE_INFINITY);
  const root = server.url.pathname.replace(/\/$/, '');
  let tls: { until: number; options: TlsOptions } | undefined;

  async function send(options: ExchangeOptions, through: http.Agent): Promise<http.IncomingMessage> {
    const doing = `${options.method} ${options.path.split('?')[0]}`;
    let authorization: string | undefined;
    let proxyAgent: http.RequestOptions['agent'];
    try {
      authorization = await server.authorization();
      proxyAgent = await server.proxyAgent();
    } catch (error) {
      if (error instanceof OplabError) throw error;
      throw new KubeError(0, 'NoCredentials', `${doing}: the credentials cannot be obtained: ${String(error)}`, {
        cause: error,
      });
    }
    if (options.signal?.aborted) throw new KubeError(0, 'Aborted', `${doing}: aborted`);
    // After the authorization: an exec plugin may just have delivered a certificate.
    if (tls === undefined || Date.now() >= tls.until)
      tls = { until: Date.now() + TLS_REREAD_MS, options: server.tls() };

    const payload = options.body === undefined ? undefined : JSON.stringify(options.body);
    const headers: http.OutgoingHttpHeaders = { accept: options.accept ?? 'application/json', 'user-agent': userAgent };
    if (authorization !== undefined) headers.authorization = authorization;
    if (payload !== undefined) {
      headers['content-type'] = options.contentType ?? 'application/json';
      headers['content-length'] = Buffer.byteLength(payload);
    }
    const requestOptions: https.RequestOptions = {
      method: options.method,
      host: server.url.hostname.replace(/^\[|\]$/g, ''),
      port: server.url.port || (secure ? 443 : 80),
      path: root + options.path,
      headers,
      agent: proxyAgent ?? through,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(secure ? tls.options : {}),
    };
    return await new Promise<http.IncomingMessage>((resolve, reject) => {
      const request = (secure ? https : http).request(requestOptions);
      const timer = setTimeout(() => {
        request.destroy(new KubeError(0, 'Timeout', `${doing}: no answer from ${server.url.host} in time`));
      }, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
      request.on('socket', (socket) => socket.setKeepAlive(true, 15_000));
      request.on('error', (error) => {
        clearTimeout(timer);
        reject(
          error instanceof KubeError
            ? error
            : new KubeError(0, 'Unreachable', `${doing}: ${server.url.host} cannot be reached: ${error.message}`, {
                cause: error,
              }),
        );
      });
      request.on('response', (response) => {
        clearTimeout(timer);
        const status = response.statusCode ?? 0;
        if (status < 400) {
          resolve(response);
          return;
        }
        readBody(response, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, doing).then(
          (body) => reject(kubeErrorFrom(status, body, doing)),
          reject,
        );
      });
      request.end(payload);
    });
  }

  return {
    open: (options) => send(options, streamAgent),
    async exchange(options) {
      const response = await send(options, agent);
      return await readBody(response, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, `${options.method} ${options.path}`);
    },
  };
}

function readBody(response: http.IncomingMessage, timeoutMs: number, doing: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const fail = (reason: string, message: string) => {
      clearTimeout(timer);
      response.destroy();
      reject(new KubeError(0, reason, `${doing}: ${message}`));
    };
    const timer = setTimeout(() => fail('Timeout', 'the answer stopped in the middle'), timeoutMs);
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) fail('TooLarge', `the answer is larger than ${MAX_BODY_BYTES} bytes`);
      else chunks.push(chunk);
    });
    response.on('error', (error) => fail('Unreachable', error.message));
    response.on('close', () => {
      if (!response.complete) fail('Unreachable', 'the connection was cut in the middle of the answer');
    });
    response.on('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
  });
}
