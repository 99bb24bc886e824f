// The port-forward against a server that speaks the channel protocol as the kubelet does.

import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { KubeServer } from './credentials.ts';
import { openPortForward } from './port-forward.ts';
import { FrameDecoder, frame } from './websocket.ts';

let server: Server | undefined;
const sockets = new Set<Duplex>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
});

/** A frame without a mask, as servers send it. */
function serverFrame(payload: Buffer, opcode = 2): Buffer {
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, payload.length]) : Buffer.alloc(10);
  if (payload.length >= 126) {
    head[0] = 0x80 | opcode;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, payload]);
}

interface Pod {
  /** What the pod's port answers to each piece of data. */
  respond(data: Buffer, send: (channel: number, data: Buffer) => void, socket: Duplex): void;
  greet?(send: (channel: number, data: Buffer) => void): void;
}

/** An API server with one pod; the requests that it has seen. */
async function apiServer(pod: Pod): Promise<{ client: { server: KubeServer }; requests: string[] }> {
  const requests: string[] = [];
  const listening = createServer((_request, response) => {
    response.writeHead(404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', message: 'pods "gone" not found', reason: 'NotFound', code: 404 }));
  });
  server = listening;
  listening.on('upgrade', (request, socket) => {
    sockets.add(socket);
    requests.push(`${request.url} ${request.headers.authorization} ${request.headers['sec-websocket-protocol']}`);
    if (request.url?.includes('/gone/')) {
      const body = JSON.stringify({ kind: 'Status', message: 'pods "gone" not found', reason: 'NotFound', code: 404 });
      socket.end(
        `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      return;
    }
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n`,
    );
    const send = (channel: number, data: Buffer) =>
      void socket.write(serverFrame(Buffer.concat([Buffer.from([channel]), data])));
    const port = Buffer.from([0x90, 0x1f]);
    send(0, port);
    send(1, port);
    pod.greet?.(send);
    const decoder = new FrameDecoder();
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      for (const { opcode, payload } of decoder.push(chunk)) {
        if (opcode === 2) pod.respond(payload.subarray(1), send, socket);
      }
    });
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address: AddressInfo | string | null = listening.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const url = new URL(`http://127.0.0.1:${address.port}/prefix`);
  const kube: KubeServer = {
    url,
    tls: () => ({}),
    authorization: async () => 'Bearer t0ken',
    proxyAgent: async () => undefined,
  };
  return { client: { server: kube }, requests };
}

/** Sends bytes through a local port and collects what comes back until the connection ends or `enough` came. */
function exchange(port: number, data: Buffer, enough: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const socket = connect(port, '127.0.0.1', () => socket.write(data));
    socket.on('data', (chunk) => {
      const bytes = Buffer.from(chunk);
      chunks.push(bytes);
      size += bytes.length;
      if (size >= enough) socket.end();
    });
    socket.on('close', () => resolve(Buffer.concat(chunks)));
    socket.on('error', reject);
  });
}

it('carries megabytes both ways, unchanged, on connections of their own', async () => {
  const { client, requests } = await apiServer({ respond: (data, send) => send(0, data) });
  const forward = await openPortForward(client, { namespace: 'oplab-system', pod: 'gw', port: 8080 });
  const payload = Buffer.alloc(3_000_000, 'abcdefg');
  const [large, small] = await Promise.all([
    exchange(forward.localPort, payload, payload.length),
    exchange(forward.localPort, Buffer.from('hi'), 2),
  ]);
  expect(large.equals(payload)).toBe(true);
  expect(small.toString()).toBe('hi');
  expect(requests).toEqual(
    Array(2).fill(
      '/prefix/api/v1/namespaces/oplab-system/pods/gw/portforward?ports=8080 Bearer t0ken v4.channel.k8s.io',
    ),
  );
  await forward.close();
});

it('says what the kubelet says when the port is closed', async () => {
  const { client } = await apiServer({
    respond: () => undefined,
    greet: (send) => send(1, Buffer.from('dial tcp: connection refused')),
  });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  await exchange(forward.localPort, Buffer.from('x'), 1).catch(() => undefined);
  expect(forward.lastError).toContain('connection refused');
  await forward.close();
});

it('says what the API server says when the pod is gone', async () => {
  const { client } = await apiServer({ respond: () => undefined });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gone', port: 1 });
  await exchange(forward.localPort, Buffer.from('x'), 1).catch(() => undefined);
  expect(forward.lastError).toContain('pods "gone" not found');
  await forward.close();
});

it('ends the local connection when the pod ends its own', async () => {
  const { client } = await apiServer({
    respond: (_data, send, socket) => {
      send(0, Buffer.from('bye'));
      socket.write(serverFrame(Buffer.from([0x03, 0xe8]), 8));
    },
  });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  expect((await exchange(forward.localPort, Buffer.from('x'), 1_000_000)).toString()).toBe('bye');
  await forward.close();
});

describe('frames', () => {
  it.each([0, 1, 125, 126, 65_535, 65_536])('of %i bytes come through in pieces', (size) => {
    const payload = Buffer.alloc(size, 'xyz');
    const bytes = frame(2, payload);
    const decoder = new FrameDecoder();
    const messages: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 1000) {
      for (const message of decoder.push(bytes.subarray(at, at + 1000))) messages.push(message.payload);
    }
    expect(messages).toHaveLength(1);
    expect(messages[0]?.equals(payload)).toBe(true);
  });

  it('in parts are one message, with a ping between the parts', () => {
    const parts = Buffer.concat([Buffer.from([0x02, 1, 0x61]), Buffer.from([0x89, 0]), Buffer.from([0x80, 1, 0x62])]);
    const seen = [...new FrameDecoder().push(parts)].map(({ opcode, payload }) => `${opcode}:${payload}`);
    expect(seen).toEqual(['9:', '2:ab']);
  });

  it('that claim to be huge are refused', () => {
    const head = Buffer.alloc(10);
    head[0] = 0x82;
    head[1] = 127;
    head.writeBigUInt64BE(1n << 40n, 2);
    expect(() => [...new FrameDecoder().push(head)]).toThrow(/too large/);
  });
});
