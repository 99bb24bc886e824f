// One HTTP exchange with the API server: keep-alive, time-outs, bounded answers, typed errors.

import type { Agent, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { errorMessage, OplabError } from '../errors.ts';
import { BodyTooLarge, readAnswer } from '../net/answer-body.ts';
import { keepFresh } from '../net/certificate-files.ts';
import { escapeYamlBreaks, withWholeCharacters } from '../net/json.ts';
import { createAgent, openRequest } from '../net/request.ts';
import { TimedOut } from '../net/timed-out.ts';
import type { KubeServer } from './credentials.ts';
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
  /**
   * The answer as a stream, once its head is here. From then on the caller ends it, also on the
   * signal.
   * @throws KubeError
   */
  open(options: ExchangeOptions): Promise<IncomingMessage>;
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

export function createTransport(server: KubeServer, userAgent = 'oplab'): Transport {
  const { url } = server;
  const agentOptions = { keepAliveMsecs: 15_000, scheduling: 'lifo' as const };
  const agent = createAgent(url, { ...agentOptions, maxSockets: MAX_SOCKETS });
  // Streams hold their connections for minutes; they must not use up those of ordinary calls.
  const streamAgent = createAgent(url, agentOptions);
  const root = url.pathname.replace(/\/$/, '');
  const tls = keepFresh(() => server.tls());

  async function send(options: ExchangeOptions, through: Agent): Promise<IncomingMessage> {
    const doing = `${options.method} ${options.path.split('?')[0]}`;
    let authorization: string | undefined;
    let proxyAgent: Agent | undefined;
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
    const payload = options.body === undefined ? undefined : formatBody(options.body);
    const headers: OutgoingHttpHeaders = { accept: options.accept ?? 'application/json', 'user-agent': userAgent };
    if (authorization !== undefined) headers.authorization = authorization;
    if (payload !== undefined) {
      headers['content-type'] = options.contentType ?? 'application/json';
      headers['content-length'] = Buffer.byteLength(payload);
    }
    const outgoing = openRequest({
      url,
      method: options.method,
      path: root + options.path,
      headers,
      agent: proxyAgent ?? through,
      // After the authorization: an exec plugin may just have delivered a certificate.
      ...(url.protocol === 'https:' ? { tls: tls() } : {}),
      limits: { head: options.timeoutMs ?? DEFAULT_TIMEOUT_MS },
    });
    outgoing.body.end(payload);
    let response: IncomingMessage;
    try {
      response = await outgoing.receiveResponse(options.signal);
    } catch (error) {
      outgoing.destroy();
      if (error instanceof TimedOut) {
        throw new KubeError(0, 'Timeout', `${doing}: no answer from ${url.host} in time`, { cause: error });
      }
      throw new KubeError(0, 'Unreachable', `${doing}: ${url.host} cannot be reached: ${errorMessage(error)}`, {
        cause: error,
      });
    }
    const status = response.statusCode ?? 0;
    if (status < 400) return response;
    throw kubeErrorFrom(status, await readBody(response, options, doing), doing);
  }

  return {
    open: (options) => send(options, streamAgent),
    async exchange(options) {
      return await readBody(await send(options, agent), options, `${options.method} ${options.path}`);
    },
  };
}

/** Escaped for all types of content: as JSON it means the same. */
function formatBody(body: object): string {
  return escapeYamlBreaks(withWholeCharacters(JSON.stringify(body)));
}

async function readBody(
  response: IncomingMessage,
  { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: ExchangeOptions,
  doing: string,
): Promise<string> {
  try {
    return (await readAnswer(response, MAX_BODY_BYTES, { wholeMs: timeoutMs, signal })).toString('utf8');
  } catch (error) {
    if (error instanceof BodyTooLarge) throw new KubeError(0, 'TooLarge', `${doing}: ${error.message}`);
    if (error instanceof TimedOut) throw new KubeError(0, 'Timeout', `${doing}: the answer is incomplete`);
    throw new KubeError(0, 'Unreachable', `${doing}: the connection was cut in the middle of the answer`, {
      cause: error,
    });
  }
}
