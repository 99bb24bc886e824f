// Sends requests to the model API, with its base URL, proxy, CA and key. The key is read from its
// file for every call and is sent nowhere else.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Agent, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import * as z from 'zod';
import { parseEnvironment } from '../../../environment.ts';
import { errorMessage, UpstreamUnavailable } from '../../../errors.ts';
import { readPem, trustBesidesPublic } from '../../../net/certificate-files.ts';
import { createAgent, openRequest } from '../../../net/request.ts';

export interface UpstreamOptions {
  readonly baseURL: URL;
  /** The file with the API key. No key is sent if the file is missing or empty. */
  readonly keyFile?: string | undefined;
  /** PEM certificates that are trusted in addition to the public ones. */
  readonly caFile?: string | undefined;
  /** Overrides HTTP_PROXY and HTTPS_PROXY. */
  readonly proxy?: string | undefined;
  /** Called with every key that is used, so that it can be kept out of the log. */
  readonly onKey?: (key: string) => void;
  readonly connectTimeoutMs?: number;
  readonly answerTimeoutMs?: number;
  readonly environment?: NodeJS.ProcessEnv;
}

export interface UpstreamRequest {
  readonly beta: boolean;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

/** No answer arrived. `sent`: the model may have processed the request nevertheless. */
export class NoAnswer extends UpstreamUnavailable {
  readonly sent: boolean;
  constructor(message: string, sent: boolean, cause?: unknown) {
    super(message, cause);
    this.sent = sent;
  }
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Until the head of the answer. A long answer that is not streamed takes minutes. */
const ANSWER_TIMEOUT_MS = 600_000;

interface HeadedRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | undefined;
  readonly signal: AbortSignal;
}

export class ModelUpstream {
  readonly #options: UpstreamOptions;
  readonly #root: string;
  #agent: { ca: string | undefined; agent: Agent } | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    // Base URLs are in use with and without the version.
    this.#root = options.baseURL.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
  }

  /**
   * Sends a request. Resolves with the head of the answer, of any status.
   * @throws NoAnswer
   */
  send({ beta, headers, body, signal }: UpstreamRequest): Promise<IncomingMessage> {
    const path = `${this.#root}/v1/messages${beta ? '?beta=true' : ''}`;
    return this.#send({ method: 'POST', path, headers, body, signal });
  }

  /** Asks what the API says about a model, which is free. @throws NoAnswer */
  askModel(model: string, signal: AbortSignal): Promise<IncomingMessage> {
    const path = `${this.#root}/v1/models/${encodeURIComponent(model)}`;
    return this.#send({ method: 'GET', path, headers: { 'anthropic-version': '2023-06-01' }, body: undefined, signal });
  }

  /** Changes when the key does. Undefined if there is none, or if it cannot be read. */
  async keyDigest(): Promise<string | undefined> {
    const key = await this.#key().catch(() => undefined);
    return key === undefined ? undefined : createHash('sha256').update(key).digest('base64');
  }

  async #send(request: HeadedRequest): Promise<IncomingMessage> {
    const key = await this.#key();
    const agent = this.#currentAgent();
    // The other side may close a kept-alive connection just as the request is sent. It has not seen
    // the request then.
    for (let tries = 0; tries < 2; tries += 1) {
      const answer = await this.#attempt(request, agent, key);
      if (answer !== undefined) return answer;
    }
    throw new NoAnswer(`the model API at ${this.#options.baseURL.host} closes its connections`, false);
  }

  /** Undefined if the connection was kept alive and was closed before the request was seen. */
  async #attempt(request: HeadedRequest, agent: Agent, key: string | undefined): Promise<IncomingMessage | undefined> {
    const { baseURL, connectTimeoutMs = CONNECT_TIMEOUT_MS, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#options;
    const outgoing = openRequest({
      url: baseURL,
      method: request.method,
      path: request.path,
      headers: {
        ...request.headers,
        host: baseURL.host,
        'user-agent': 'oplab-gateway',
        // The meter must be able to read the answer.
        'accept-encoding': 'identity',
        ...(request.body === undefined ? {} : { 'content-length': request.body.length }),
        ...(key === undefined ? {} : { 'x-api-key': key }),
      },
      agent,
      limits: { connect: connectTimeoutMs, head: answerTimeoutMs },
    });
    outgoing.body.end(request.body);
    try {
      return await outgoing.receiveResponse(request.signal);
    } catch (error) {
      outgoing.destroy();
      const isReset =
        error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (outgoing.isReused && isReset) return undefined;
      const sent = outgoing.isConnected && outgoing.body.writableFinished;
      throw new NoAnswer(`the model API at ${baseURL.host} does not answer: ${errorMessage(error)}`, sent, error);
    }
  }

  async #key(): Promise<string | undefined> {
    const { keyFile, onKey } = this.#options;
    if (keyFile === undefined) return undefined;
    let key: string;
    try {
      key = (await readFile(keyFile, 'utf8')).trim();
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw new NoAnswer(`the key file ${keyFile} cannot be read: ${errorMessage(error)}`, false, error);
    }
    if (key === '') return undefined;
    onKey?.(key);
    return key;
  }

  #currentAgent(): Agent {
    const { baseURL, caFile, proxy, environment } = this.#options;
    let ca: string | undefined;
    try {
      if (caFile !== undefined) ca = readPem(caFile);
    } catch (error) {
      throw new NoAnswer(errorMessage(error), false, error);
    }
    if (this.#agent !== undefined && this.#agent.ca === ca) return this.#agent.agent;
    const inherited = proxyEnvironment(environment);
    const proxyEnv =
      proxy === undefined ? inherited : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: inherited.NO_PROXY };
    const agent = createAgent(baseURL, {
      maxSockets: 256,
      proxyEnv,
      ...(ca === undefined ? {} : { ca: trustBesidesPublic(ca) }),
    });
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
