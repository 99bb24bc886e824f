// A WebSocket to the API server, over node:https with the credentials of the kubeconfig: just what its streams need.
//
// Own framing instead of a library, because the sender must know when the socket is full: a port-forward without back-pressure
// would hold a fast server's answer in memory.

import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import type { KubeServer } from './credentials.ts';
import { KubeError, kubeErrorFrom } from './errors.ts';

const CONNECT_TIMEOUT_MS = 15_000;
/** A frame larger than this is no frame of a port-forward. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;
const PING_MS = 20_000;

const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** What happens on the socket. `closed` comes exactly once. */
export interface WebSocketEvents {
  message(data: Buffer): void;
  drained(): void;
  closed(error: Error | undefined): void;
}

/** An open WebSocket. */
export interface WebSocketConnection {
  readonly protocol: string;
  /** Sends one binary message; false when the sender ought to wait for `drained`. */
  send(data: Buffer): boolean;
  pause(): void;
  resume(): void;
  close(): void;
}

/**
 * Opens a WebSocket under the path.
 * @throws KubeError when the server refuses, or cannot be reached
 */
export async function openWebSocket(
  server: KubeServer,
  path: string,
  protocol: string,
  events: WebSocketEvents,
): Promise<WebSocketConnection> {
  const secure = server.url.protocol === 'https:';
  const authorization = await server.authorization();
  const agent = await server.proxyAgent();
  const key = randomBytes(16).toString('base64');
  const doing = `GET ${path.split('?')[0]}`;
  return await new Promise((resolve, reject) => {
    const request = (secure ? https : http).request({
      method: 'GET',
      host: server.url.hostname.replace(/^\[|\]$/g, ''),
      port: server.url.port || (secure ? 443 : 80),
      path: server.url.pathname.replace(/\/$/, '') + path,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': key,
        'sec-websocket-protocol': protocol,
        'user-agent': 'oplab',
        ...(authorization === undefined ? {} : { authorization }),
      },
      agent: agent ?? false,
      ...(secure ? server.tls() : {}),
    });
    const timer = setTimeout(() => {
      request.destroy(new KubeError(0, 'Timeout', `${doing}: no answer from ${server.url.host} in time`));
    }, CONNECT_TIMEOUT_MS);
    request.on('error', (error) => {
      clearTimeout(timer);
      const unreachable = `${doing}: ${server.url.host} cannot be reached: ${error.message}`;
      reject(error instanceof KubeError ? error : new KubeError(0, 'Unreachable', unreachable, { cause: error }));
    });
    request.on('response', (response) => {
      clearTimeout(timer);
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (body.length < 65536) body += chunk;
      });
      response.on('close', () => reject(kubeErrorFrom(response.statusCode ?? 0, body, doing)));
    });
    request.on('upgrade', (response, socket, head) => {
      clearTimeout(timer);
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      if (response.headers['sec-websocket-accept'] !== accept) {
        socket.destroy();
        reject(new KubeError(0, 'Unreachable', `${doing}: the answer is no WebSocket`));
        return;
      }
      const agreed = response.headers['sec-websocket-protocol'] ?? '';
      resolve(connectionOver(socket, head, agreed, events));
    });
    request.end();
  });
}

function connectionOver(socket: Duplex, head: Buffer, protocol: string, events: WebSocketEvents): WebSocketConnection {
  const decoder = new FrameDecoder();
  let open = true;
  const finish = (error?: Error) => {
    if (!open) return;
    open = false;
    clearInterval(pings);
    socket.destroy();
    events.closed(error);
  };
  const pings = setInterval(() => socket.write(frame(OPCODE.ping, Buffer.alloc(0))), PING_MS);
  pings.unref();
  const receive = (chunk: Buffer) => {
    try {
      for (const { opcode, payload } of decoder.push(chunk)) {
        if (!open) return;
        if (opcode === OPCODE.close) finish(closeError(payload));
        else if (opcode === OPCODE.ping) socket.write(frame(OPCODE.pong, payload));
        else if (opcode !== OPCODE.pong) events.message(payload);
      }
    } catch (error) {
      finish(error instanceof Error ? error : new Error(String(error)));
    }
  };
  socket.on('data', receive);
  socket.on('drain', () => events.drained());
  socket.on('error', (error) => finish(error));
  socket.on('end', () => finish());
  socket.on('close', () => finish());
  if (head.length > 0) queueMicrotask(() => receive(head));
  return {
    protocol,
    send: (data) => open && socket.write(frame(OPCODE.binary, data)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close: () => {
      if (open) socket.write(frame(OPCODE.close, Buffer.from([0x03, 0xe8])));
      finish();
    },
  };
}

/** 1000 (normal), 1005 (none said) and no code at all are ordinary ends. */
function closeError(payload: Buffer): Error | undefined {
  const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
  if (code === 1000 || code === 1005) return undefined;
  return new Error(`closed by the server (${code}): ${payload.subarray(2).toString('utf8')}`);
}

/** A whole message as one frame, masked as a client's must be. */
export function frame(opcode: number, payload: Buffer): Buffer {
  const mask = randomBytes(4);
  const extended = payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8;
  const result = Buffer.allocUnsafe(2 + extended + 4 + payload.length);
  result[0] = 0x80 | opcode;
  if (extended === 0) result[1] = 0x80 | payload.length;
  else if (extended === 2) {
    result[1] = 0x80 | 126;
    result.writeUInt16BE(payload.length, 2);
  } else {
    result[1] = 0x80 | 127;
    result.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  const start = 2 + extended + 4;
  mask.copy(result, 2 + extended);
  for (let at = 0; at < payload.length; at += 1) result[start + at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0);
  return result;
}

/** Cuts a stream of bytes into messages; control frames may come between the parts of one. */
export class FrameDecoder {
  #buffer: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];

  /** @throws Error for a frame that no server of ours sends */
  *push(chunk: Buffer): Generator<{ opcode: number; payload: Buffer }> {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const parsed = this.#next();
      if (parsed === undefined) return;
      const { final, opcode, payload } = parsed;
      if (opcode >= OPCODE.close) {
        yield { opcode, payload };
        continue;
      }
      this.#parts.push(payload);
      if (!final) continue;
      const message = this.#parts.length === 1 ? payload : Buffer.concat(this.#parts);
      this.#parts = [];
      yield { opcode: OPCODE.binary, payload: message };
    }
  }

  #next(): { final: boolean; opcode: number; payload: Buffer } | undefined {
    const buffer = this.#buffer;
    if (buffer.length < 2) return undefined;
    const first = buffer[0] ?? 0;
    const second = buffer[1] ?? 0;
    const short = second & 0x7f;
    const header = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + ((second & 0x80) === 0 ? 0 : 4);
    if (buffer.length < header) return undefined;
    const length = short === 126 ? buffer.readUInt16BE(2) : short === 127 ? Number(buffer.readBigUInt64BE(2)) : short;
    if (length > MAX_FRAME_BYTES) throw new Error(`a WebSocket frame of ${length} bytes is too large`);
    if (buffer.length < header + length) return undefined;
    const payload = Buffer.from(buffer.subarray(header, header + length));
    if ((second & 0x80) !== 0) {
      const mask = buffer.subarray(header - 4, header);
      for (let at = 0; at < payload.length; at += 1) payload[at] = (payload[at] ?? 0) ^ (mask[at & 3] ?? 0);
    }
    this.#buffer = buffer.subarray(header + length);
    return { final: (first & 0x80) !== 0, opcode: first & 0x0f, payload };
  }
}
