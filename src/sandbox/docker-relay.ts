// The sandbox's /var/run/docker.sock: an ordinary Docker socket to whoever connects, carried to the gateway's docker door with the pod's own token.
//
// It decides nothing. The token is read from its file for each request, since the kubelet rotates it; a command that reads the
// token itself gains nothing by it, for the door is the same.

import { readFileSync } from 'node:fs';
import { chmod, mkdir, readFile, unlink } from 'node:fs/promises';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../errors.ts';

/** Where docker commands look unless told otherwise. */
export const DOCKER_SOCKET_PATH = '/var/run/docker.sock';

/** Once one side of a stream has said that it is over, the other gets this long, in milliseconds. */
const LINGER_MS = 2000;

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

/** Listens on the socket. @throws when it cannot */
export async function startDockerRelay(options: DockerRelayOptions): Promise<DockerRelay> {
  const report = options.report ?? (() => undefined);
  const { url } = options;

  async function toDoor(incoming: IncomingMessage) {
    const token = (await readFile(options.tokenFile, 'utf8')).trim();
    const headers: OutgoingHttpHeaders = { ...incoming.headers, host: url.host, authorization: `Bearer ${token}` };
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return request({
      ...{ host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port, method: incoming.method, path: incoming.url },
      ...(url.protocol === 'https:' ? { ca: readFileSync(options.caFile) } : {}),
      ...{ allowHalfOpen: true },
      headers,
      // Each request on a connection of its own: the other end may close one that has been idle.
      agent: false,
    });
  }

  async function forward(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const outgoing = await toDoor(incoming);
    // Whoever stops listening to `logs -f` ends it on the other side, too.
    response.once('close', () => outgoing.destroy());
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve);
      outgoing.on('error', reject);
    });
    // The door may answer before it has taken all of a body that it refuses.
    pipeline(incoming, outgoing).catch(() => undefined);
    const answer = await answered;
    response.writeHead(answer.statusCode ?? 502, withoutHop(answer.headers));
    response.flushHeaders();
    await pipeline(answer, response);
  }

  async function upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const outgoing = await toDoor(incoming);
    socket.once('close', () => outgoing.destroy());
    outgoing.on('error', (error) => refuse(socket, messageOf(error)));
    outgoing.once('upgrade', (response, upstream, first) => {
      socket.write(headOf(101, 'UPGRADED', { ...response.headers }));
      if (first.length > 0) socket.write(first);
      join(socket, upstream);
    });
    outgoing.once('response', (answer) => {
      socket.write(
        headOf(answer.statusCode ?? 502, answer.statusMessage ?? '', {
          ...withoutHop(answer.headers),
          connection: 'close',
        }),
      );
      pipeline(answer, socket).catch(() => socket.destroy());
    });
    // The body, if one was announced, stands at the beginning of what is left on the socket: Node does not read it for an upgrade.
    const length = Number(incoming.headers['content-length'] ?? 0);
    if (length > 0) outgoing.write(await take(socket, head, length));
    else if (head.length > 0) socket.unshift(head);
    outgoing.end();
  }

  const server = createServer({ requestTimeout: 0, headersTimeout: 15_000 }, (incoming, response) => {
    forward(incoming, response).catch((error: unknown) => {
      report(`docker: ${incoming.method} ${incoming.url}: ${messageOf(error)}`);
      if (response.headersSent) return void response.destroy();
      response.writeHead(502, { 'content-type': 'application/json', connection: 'close' });
      response.end(JSON.stringify({ message: `the gateway cannot be reached: ${messageOf(error)}` }));
    });
  });
  server.on('upgrade', (incoming, socket, head) => {
    socket.on('error', () => socket.destroy());
    upgrade(incoming, socket, head).catch((error: unknown) => {
      report(`docker: ${incoming.method} ${incoming.url}: ${messageOf(error)}`);
      refuse(socket, `the gateway cannot be reached: ${messageOf(error)}`);
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

/** Both directions, each ending by itself; the end of the answer ends it all. */
function join(socket: Duplex, upstream: Duplex): void {
  const both = () => {
    socket.destroy();
    upstream.destroy();
  };
  let over = false;
  // After its last word the other end may go as it likes: what it said is still on the way.
  upstream.on('error', () => (over ? undefined : both()));
  socket.once('close', both);
  socket.pipe(upstream);
  upstream.pipe(socket);
  upstream.once('end', () => {
    over = true;
    upstream.end();
  });
  upstream.once('close', () => socket.end());
  socket.once('finish', () => setTimeout(both, LINGER_MS).unref());
}

/** The announced body; what follows it stays on the socket. */
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
  if (socket.destroyed || socket.writableEnded) return;
  const body = JSON.stringify({ message });
  socket.end(
    headOf(502, 'Bad Gateway', {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      connection: 'close',
    }) + body,
  );
}

/** The connection's own headers are made anew on this side. */
function withoutHop(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...kept } = headers;
  return kept;
}

function headOf(status: number, message: string, headers: OutgoingHttpHeaders): string {
  const lines = [`HTTP/1.1 ${status} ${message}`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of [value ?? []].flat()) lines.push(`${name}: ${one}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}
