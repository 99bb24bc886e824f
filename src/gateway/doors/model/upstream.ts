// The way to the model API: base URL, proxy, CA, and the key, which is read from its file for every call and goes nowhere else.

import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import { z } from 'zod';
import { parseEnvironment } from '../../../environment.ts';
import { messageOf, OplabError, UpstreamUnavailable } from '../../../errors.ts';

export interface UpstreamOptions {
  readonly baseURL: URL;
  /** The API key; without a file, or with an empty one, none is sent. */
  readonly keyFile?: string | undefined;
  /** PEM certificates trusted besides the public ones. */
  readonly caFile?: string | undefined;
  /** Overrides HTTP_PROXY and HTTPS_PROXY. */
  readonly proxy?: string | undefined;
  /** Told of every key that is used, so that it can be kept out of the log. */
  readonly onKey?: (key: string) => void;
  readonly connectTimeoutMs?: number;
  readonly answerTimeoutMs?: number;
  readonly environment?: NodeJS.ProcessEnv;
}

export interface UpstreamRequest {
  readonly beta: boolean;
  readonly headers: http.OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

/** No answer came. `sent` tells whether the model may have worked nevertheless. */
export class NoAnswer extends UpstreamUnavailable {
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, cause);
    this.sent = sent;
  }
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the head of the answer; a long answer that is not streamed takes minutes. */
const ANSWER_TIMEOUT_MS = 600_000;

export class ModelUpstream {
  readonly #options: UpstreamOptions;
  readonly #path: string;
  #agent: { ca: string | undefined; agent: http.Agent } | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    // Both forms of base URL are in use, with and without the version.
    const root = options.baseURL.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
    this.#path = `${root}/v1/messages`;
  }

  /** Sends a request; resolves with the head of the answer, whatever its status. @throws NoAnswer */
  async send(request: UpstreamRequest): Promise<http.IncomingMessage> {
    const [agent, key] = await Promise.all([this.#currentAgent(), this.#key()]);
    try {
      return await this.#attempt(request, agent, key);
    } catch (error) {
      // A connection kept alive may have been closed by the other side at this very moment; nobody has seen the request.
      if (error instanceof Stale) return await this.#attempt(request, agent, key);
      throw error;
    }
  }

  #attempt(request: UpstreamRequest, agent: http.Agent, key: string | undefined): Promise<http.IncomingMessage> {
    const { baseURL, connectTimeoutMs = CONNECT_TIMEOUT_MS, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#options;
    const secure = baseURL.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const outgoing = (secure ? https : http).request({
        method: 'POST',
        host: baseURL.hostname.replace(/^\[|\]$/g, ''),
        port: baseURL.port || (secure ? 443 : 80),
        path: request.beta ? `${this.#path}?beta=true` : this.#path,
        headers: {
          ...request.headers,
          host: baseURL.host,
          'user-agent': 'oplab-gateway',
          // The meter reads what passes.
          'accept-encoding': 'identity',
          'content-length': request.body.length,
          ...(key === undefined ? {} : { 'x-api-key': key }),
        },
        agent,
        signal: request.signal,
      });
      let connected = false;
      const timer = {
        current: setTimeout(() => outgoing.destroy(new Error('no connection in time')), connectTimeoutMs),
      };
      const ready = () => {
        connected = true;
        clearTimeout(timer.current);
        timer.current = setTimeout(() => outgoing.destroy(new Error('no answer in time')), answerTimeoutMs);
      };
      outgoing.on('socket', (socket) => {
        socket.setKeepAlive(true, 30_000);
        if (!socket.connecting && (!(socket instanceof tls.TLSSocket) || outgoing.reusedSocket)) ready();
        else socket.once(secure ? 'secureConnect' : 'connect', ready);
      });
      outgoing.on('response', (response) => {
        clearTimeout(timer.current);
        resolve(response);
      });
      outgoing.on('error', (error) => {
        clearTimeout(timer.current);
        if (outgoing.reusedSocket && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) {
          reject(new Stale());
          return;
        }
        const sent = connected && outgoing.writableFinished;
        reject(new NoAnswer(`the model API at ${baseURL.host} does not answer: ${messageOf(error)}`, sent, error));
      });
      outgoing.end(request.body);
    });
  }

  async #key(): Promise<string | undefined> {
    const { keyFile, onKey } = this.#options;
    if (keyFile === undefined) return undefined;
    let key: string;
    try {
      key = (await readFile(keyFile, 'utf8')).trim();
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw new NoAnswer(`the key file ${keyFile} cannot be read: ${messageOf(error)}`, false, error);
    }
    if (key === '') return undefined;
    onKey?.(key);
    return key;
  }

  async #currentAgent(): Promise<http.Agent> {
    const { baseURL, caFile, proxy, environment } = this.#options;
    let ca: string | undefined;
    try {
      if (caFile !== undefined) ca = await readFile(caFile, 'utf8');
    } catch (error) {
      throw new NoAnswer(`the CA file ${caFile} cannot be read: ${messageOf(error)}`, false, error);
    }
    if (this.#agent !== undefined && this.#agent.ca === ca) return this.#agent.agent;
    const inherited = proxyEnvironment(environment);
    const proxyEnv =
      proxy === undefined ? inherited : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: inherited.NO_PROXY };
    const options = { keepAlive: true, timeout: 0, maxSockets: 256, proxyEnv };
    const agent =
      baseURL.protocol === 'https:'
        ? new https.Agent({
            ...options,
            ...(ca === undefined ? {} : { ca: [...tls.getCACertificates('default'), ca] }),
          })
        : new http.Agent(options);
    this.#agent = { ca, agent };
    return agent;
  }
}

const proxyVariables = z.object({
  HTTP_PROXY: z.string().optional(),
  http_proxy: z.string().optional(),
  HTTPS_PROXY: z.string().optional(),
  https_proxy: z.string().optional(),
  NO_PROXY: z.string().optional(),
  no_proxy: z.string().optional(),
});

function proxyEnvironment(environment?: NodeJS.ProcessEnv) {
  const { HTTP_PROXY, http_proxy, HTTPS_PROXY, https_proxy, NO_PROXY, no_proxy } = parseEnvironment(
    proxyVariables,
    environment,
  );
  return {
    HTTP_PROXY: HTTP_PROXY ?? http_proxy,
    HTTPS_PROXY: HTTPS_PROXY ?? https_proxy,
    NO_PROXY: NO_PROXY ?? no_proxy,
  };
}

class Stale extends OplabError {
  constructor() {
    super('OPLAB_UPSTREAM_UNAVAILABLE', 'the connection was closed');
  }
}
