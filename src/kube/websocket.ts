// A stream to a pod through the API server: a WebSocket with the channel protocol, as a duplex.

import { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { errorMessage } from '../errors.ts';
import { readBeginning } from '../net/answer-body.ts';
import type { KubeServer } from './credentials.ts';
import { KubeError, kubeErrorFrom } from './errors.ts';

/** One data channel and one error channel. Each message begins with the number of its channel. */
const PROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const ERROR = 1;
/** The first message of each channel begins with the port, in two bytes. */
const PORT_BYTES = 2;

const CONNECT_TIMEOUT_MS = 15_000;
/** A message that is larger than this cannot be part of a port-forward. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** In bytes. */
const MAX_REFUSAL = 64 * 1024;
const PING_MS = 20_000;
/** The codes of an ordinary end: normal, without a code, and without a close frame. */
const ORDINARY_CLOSE = new Set([1000, 1005, 1006]);

/**
 * Opens the `portforward` subresource at this path. A message on the error channel destroys the
 * duplex.
 * @throws KubeError if the server refuses, or cannot be reached
 */
export async function openPortStream(server: KubeServer, path: string): Promise<Duplex> {
  const authorization = await server.authorization();
  const agent = await server.proxyAgent();
  const url = new URL(server.url.pathname.replace(/\/$/, '') + path, server.url);
  const doing = `GET ${path.split('?')[0]}`;
  const socket = new WebSocket(url, PROTOCOL, {
    ...(url.protocol === 'https:' ? { ...server.tls(), ALPNProtocols: ['http/1.1'] } : {}),
    ...(agent === undefined ? {} : { agent }),
    headers: { 'user-agent': 'oplab', ...(authorization === undefined ? {} : { authorization }) },
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  });
  return await new Promise<Duplex>((resolve, reject) => {
    const fail = (error: KubeError) => {
      clearTimeout(timer);
      reject(error);
      socket.terminate();
    };
    const timer = setTimeout(() => {
      fail(new KubeError(0, 'Timeout', `${doing}: no answer from ${url.host} in time`));
    }, CONNECT_TIMEOUT_MS);
    socket.once('open', () => {
      clearTimeout(timer);
      // Paused until the first read, so that the caller can add listeners before anything happens.
      socket.pause();
      resolve(duplexOver(socket));
    });
    socket.once('unexpected-response', (_request, response) => {
      readBeginning(response, MAX_REFUSAL, CONNECT_TIMEOUT_MS).then((body) => {
        fail(kubeErrorFrom(response.statusCode ?? 0, body.toString('utf8'), doing));
      });
    });
    socket.on('error', (error) => {
      const message = `${doing}: ${url.host} cannot be reached: ${errorMessage(error)}`;
      fail(new KubeError(0, 'Unreachable', message, { cause: error }));
    });
  });
}

/** Throttles both directions, so that the response of a fast server does not fill the memory. */
function duplexOver(socket: WebSocket): Duplex {
  const seen = new Set<number>();
  const pings = setInterval(() => socket.ping(), PING_MS);
  pings.unref();
  const duplex = new Duplex({
    read: () => socket.resume(),
    write(chunk: Buffer, _encoding, done) {
      socket.send(Buffer.concat([Buffer.from([DATA]), chunk]), (error) => done(error));
    },
    destroy(error, done) {
      clearInterval(pings);
      socket.close(1000);
      // Does not wait for the server's close frame, which may never come.
      socket.terminate();
      done(error);
    },
  });
  socket.on('message', (message) => {
    if (!Buffer.isBuffer(message)) return;
    const channel = message[0];
    const payload = message.subarray(channel === undefined || seen.has(channel) ? 1 : 1 + PORT_BYTES);
    if (channel !== undefined) seen.add(channel);
    if (payload.length === 0) return;
    if (channel === ERROR) duplex.destroy(new Error(payload.toString('utf8')));
    else if (channel === DATA && !duplex.push(payload)) socket.pause();
  });
  socket.on('error', (error) => duplex.destroy(error));
  socket.on('close', (code, reason) => {
    if (ORDINARY_CLOSE.has(code)) duplex.push(null);
    else duplex.destroy(new Error(`closed by the server (${code}): ${reason.toString('utf8')}`));
  });
  return duplex;
}
