// The sandbox's /var/run/docker.sock: forwards requests to the gateway's docker door with the pod's
// token.
//
// It decides nothing. The token is read from its file for each request, because the kubelet rotates
// it. A command that reads the token gains nothing, because the door decides in the same way.

import { chmod, mkdir, readFile, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorMessage } from '../errors.ts';
import { readPem } from '../net/certificate-files.ts';
import { join } from '../net/join.ts';
import { endWithResponse, formatResponseHead } from '../net/raw-response.ts';
import { type OutgoingRequest, openRequest } from '../net/request.ts';

/** The default socket of docker commands. */
export const DOCKER_SOCKET_PATH = '/var/run/docker.sock';

export interface DockerRelayOptions {
  readonly socketPath: string;
  /** The docker door, https. */
  readonly url: URL;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly report?: (line: string) => void;
}

export interface DockerRelay {
  close(): Promise<void>;
}

/** Listens on the socket. @throws if that fails */
export async function startDockerRelay(options: DockerRelayOptions): Promise<DockerRelay> {
  const report = options.report ?? (() => undefined);
  const { url } = options;

  async function toDoor(incoming: IncomingMessage): Promise<OutgoingRequest> {
    const token = (await readFile(options.tokenFile, 'utf8')).trim();
    const headers: OutgoingHttpHeaders = { ...incoming.headers, host: url.host, authorization: `Bearer ${token}` };
    // Each request has a separate connection, because the gateway may close one that is idle.
    return openRequest({
      url,
      method: incoming.method,
      path: incoming.url,
      headers,
      ...(url.protocol === 'https:' ? { tls: { ca: readPem(options.caFile) } } : {}),
      allowHalfOpen: true,
    });
  }

  async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const outgoing = await toDoor(incoming);
    // The end of `logs -f` on this side ends it on the other side.
    response.once('close', () => outgoing.destroy());
    // The door may refuse a request before it has read the whole body.
    pipeline(incoming, outgoing.body).catch(() => undefined);
    const answer = await outgoing.receiveResponse();
    response.writeHead(answer.statusCode ?? 502, withoutHop(answer.headers));
    response.flushHeaders();
    await pipeline(answer, response);
  }

  async function upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const outgoing = await toDoor(incoming);
    socket.once('close', () => outgoing.destroy());
    // Node does not read the body of an upgrade, so it is at the beginning of the socket's bytes.
    const length = Number(incoming.headers['content-length'] ?? 0);
    if (length > 0) outgoing.body.write(await take(socket, head, length));
    else if (head.length > 0) socket.unshift(head);
    outgoing.body.end();
    const answered = await outgoing.receiveHead();
    const { response } = answered;
    if (answered.type === 'upgrade') {
      socket.write(formatResponseHead(101, 'UPGRADED', response.headers));
      if (answered.rest.length > 0) socket.write(answered.rest);
      await join(socket, answered.socket);
      return;
    }
    const headers = { ...withoutHop(response.headers), connection: 'close' };
    socket.write(formatResponseHead(response.statusCode ?? 502, response.statusMessage ?? '', headers));
    await pipeline(response, socket).catch(() => socket.destroy());
  }

  const server = createServer({ requestTimeout: 0, headersTimeout: 15_000 }, (incoming, response) => {
    forward(incoming, response).catch((error: unknown) => {
      report(`docker: ${incoming.method} ${incoming.url}: ${errorMessage(error)}`);
      if (response.headersSent) return void response.destroy();
      response.writeHead(502, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify({ message: `the gateway cannot be reached: ${errorMessage(error)}` }));
    });
  });
  server.on('upgrade', (incoming, socket, head) => {
    socket.on('error', () => socket.destroy());
    upgrade(incoming, socket, head).catch((error: unknown) => {
      report(`docker: ${incoming.method} ${incoming.url}: ${errorMessage(error)}`);
      refuse(socket, `the gateway cannot be reached: ${errorMessage(error)}`);
    });
  });
  await mkdir(path.dirname(options.socketPath), { recursive: true });
  await unlink(options.socketPath).catch(() => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.socketPath, resolve);
  });
  await chmod(options.socketPath, 0o600);
  report(`docker: listening on ${options.socketPath}`);
  return {
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads a body of the announced length. The bytes after it stay on the socket. */
async function take(socket: Duplex, head: Buffer, length: number): Promise<Buffer> {
  const chunks = [head];
  let size = head.length;
  while (size < length) {
    const chunk = await new Promise<Buffer>((resolve, reject) => {
      const gone = () => reject(new Error('the body was cut off'));
      socket.once('close', gone);
      socket.once('data', (data: Buffer) => {
        socket.off('close', gone);
        socket.pause();
        resolve(data);
      });
    });
    chunks.push(chunk);
    size += chunk.length;
  }
  const all = Buffer.concat(chunks);
  if (all.length > length) socket.unshift(all.subarray(length));
  return all.subarray(0, length);
}

function refuse(socket: Duplex, message: string): void {
  const headers = { 'content-type': 'application/json' };
  endWithResponse(socket, 502, headers, Buffer.from(JSON.stringify({ message })));
}

/** Removes the headers of the other connection; Node writes those of this one. */
function withoutHop(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...kept } = headers;
  return kept;
}
