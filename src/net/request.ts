// Opens outgoing HTTP requests: each has time limits, and no error of one is unhandled.

import http, { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Phase, TimedOut } from './timed-out.ts';

/** How long the phases of a request may take, in milliseconds, each counted from its start. */
export interface TimeLimits {
  /** Until the connection is established, TLS included. */
  readonly connect?: number;
  /** Until the head of the answer. */
  readonly head?: number;
  /** Until the end of the answer. */
  readonly whole?: number;
}

/** The CAs to trust, and our own certificate. */
export interface TlsMaterial {
  readonly ca?: string | Buffer | readonly string[];
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly rejectUnauthorized?: boolean;
  /** Default: the host of the URL. */
  readonly servername?: string;
}

export interface RequestOptions {
  /** Scheme, host, port and credentials, and the path unless `path` is given. */
  readonly url: URL;
  /** Path and query, sent exactly as they are given. */
  readonly path?: string | undefined;
  /** Connects to a unix socket instead of the URL's host and port. */
  readonly socketPath?: string;
  readonly method?: string | undefined;
  readonly headers?: OutgoingHttpHeaders;
  readonly tls?: TlsMaterial;
  /** Default: a separate connection, which ends with the answer. */
  readonly agent?: http.Agent | undefined;
  /** The end of one direction of the connection does not end the other one. */
  readonly allowHalfOpen?: boolean;
  readonly limits?: TimeLimits;
}

/** The beginning of an answer. */
export type Head =
  | { readonly type: 'response'; readonly response: IncomingMessage }
  | { readonly type: 'upgrade'; readonly response: IncomingMessage; readonly socket: Duplex; readonly rest: Buffer };

/**
 * A request that has been opened. `receiveHead` rejects with its error, even with one that happened
 * before the call.
 */
export interface OutgoingRequest {
  /** Accepts the body. Not ended yet. */
  readonly body: Writable;
  /** The connection is established, so the other side may have seen the request. */
  readonly isConnected: boolean;
  /** The connection was used before, so the other side may have closed it at the same time. */
  readonly isReused: boolean;
  /**
   * Resolves with the head of the answer.
   * @throws TimedOut, the reason of the signal, or the error of the socket
   */
  receiveHead(signal?: AbortSignal): Promise<Head>;
  /** The same for a request that is not an upgrade. */
  receiveResponse(signal?: AbortSignal): Promise<IncomingMessage>;
  /** Abandons the request. */
  destroy(error?: Error): void;
}

/** For TCP keep-alive, in milliseconds. */
const KEEP_ALIVE_MS = 15_000;

/** Opens a request. Later errors are thrown only by `receiveHead`. */
export function openRequest(options: RequestOptions): OutgoingRequest {
  const {
    url,
    socketPath,
    method = 'GET',
    path = url.pathname + url.search,
    headers = {},
    agent,
    limits = {},
  } = options;
  const isSecure = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const request = (isSecure ? https : http).request({
    ...(socketPath === undefined ? { host, port: url.port || (isSecure ? 443 : 80) } : { socketPath }),
    method,
    path,
    headers,
    ...(url.username === '' && url.password === ''
      ? {}
      : { auth: `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` }),
    agent: agent ?? false,
    ...(options.allowHalfOpen ? { allowHalfOpen: true } : {}),
    ...(isSecure ? tlsOptions(host, options.tls) : {}),
  });
  return watch(request, isSecure, limits);
}

function tlsOptions(host: string, { ca, servername = findServerName(host), ...material }: TlsMaterial = {}) {
  return {
    ...material,
    ...(ca === undefined ? {} : { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] }),
    // Empty, not absent: otherwise Node uses the Host header.
    servername: servername ?? '',
    minVersion: 'TLSv1.2' as const,
    // Otherwise both sides could agree on HTTP/2, which this client does not support.
    ALPNProtocols: ['http/1.1'],
  };
}

/** The name to put into SNI; an IP address has none. */
function findServerName(host: string): string | undefined {
  return isIP(host) === 0 ? host : undefined;
}

function watch(request: ClientRequest, isSecure: boolean, limits: TimeLimits): OutgoingRequest {
  const head = Promise.withResolvers<Head>();
  // If the request is abandoned before anyone waits for its head, the rejection is not an error.
  head.promise.catch(() => undefined);
  let isConnected = false;
  let isAnswered = false;
  let giveUp = (error: Error) => void request.destroy(error);
  const timers: Partial<Record<Phase, NodeJS.Timeout>> = {};
  for (const phase of ['connect', 'head', 'whole'] as const) {
    const ms = limits[phase];
    if (ms !== undefined) timers[phase] = setTimeout(() => giveUp(new TimedOut(phase, ms)), ms);
  }
  const passed = (...phases: Phase[]) => {
    for (const phase of phases) clearTimeout(timers[phase]);
  };

  request.on('socket', (socket: Socket) => {
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setNoDelay(true);
    const connected = () => {
      isConnected = true;
      passed('connect');
    };
    const isShakingHands = isSecure && socket instanceof TLSSocket && !request.reusedSocket;
    if (socket.connecting || isShakingHands) socket.once(isSecure ? 'secureConnect' : 'connect', connected);
    else connected();
  });
  request.on('response', (response) => {
    passed('connect', 'head');
    isAnswered = true;
    giveUp = (error) => void response.destroy(error);
    response.once('close', () => passed('whole'));
    head.resolve({ type: 'response', response });
  });
  request.on('upgrade', (response, socket, rest) => {
    passed('connect', 'head', 'whole');
    // Until the receiver of the socket adds its own listener, shortly afterwards.
    socket.on('error', () => undefined);
    head.resolve({ type: 'upgrade', response, socket, rest });
  });
  request.on('error', (error) => head.reject(error));
  request.on('close', () => {
    passed('connect', 'head');
    if (!isAnswered) passed('whole');
    head.reject(new Error('the connection was closed'));
  });

  const receiveHead = async (signal?: AbortSignal): Promise<Head> => {
    const abort = () => void request.destroy(toError(signal?.reason));
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await head.promise;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  };
  return {
    body: request,
    get isConnected() {
      return isConnected;
    },
    get isReused() {
      return request.reusedSocket;
    },
    receiveHead,
    async receiveResponse(signal) {
      const received = await receiveHead(signal);
      if (received.type === 'response') return received.response;
      received.socket.destroy();
      throw new Error('the other side upgraded the connection without being asked');
    },
    destroy: (error) => void request.destroy(error),
  };
}

/** The reason of an abort as an error. */
export function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Keeps connections open for the next request to the same host. */
export function createAgent(url: URL, options: https.AgentOptions = {}): http.Agent {
  const Agent = url.protocol === 'https:' ? https.Agent : http.Agent;
  return new Agent({ keepAlive: true, ...options });
}
