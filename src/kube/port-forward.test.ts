// The port-forward with a server that speaks the channel protocol of the kubelet.

import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import type { KubeServer } from './credentials.ts';
import { openPortForward } from './port-forward.ts';

let server: Server | undefined;
const sockets = new Set<WebSocket>();
afterEach(() => {
  for (const socket of sockets) socket.terminate();
  server?.close();
});

interface Pod {
  /** What the pod's port sends in response to each piece of data. */
  respond(data: Buffer, send: (channel: number, data: Buffer) => void, socket: WebSocket): void;
  greet?(send: (channel: number, data: Buffer) => void): void;
}

/** An API server with one pod, and the requests that it received. */
async function apiServer(pod: Pod): Promise<{ client: { server: KubeServer }; requests: string[] }> {
  const requests: string[] = [];
  const listening = createServer((_request, response) => {
    response.writeHead(404, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: 'Status', message: 'pods "gone" not found', reason: 'NotFound', code: 404 }));
  });
  server = listening;
  const protocols = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  listening.on('upgrade', (request, socket, head) => {
    requests.push(`${request.url} ${request.headers.authorization} ${request.headers['sec-websocket-protocol']}`);
    if (request.url?.includes('/gone/')) {
      const body = JSON.stringify({ kind: 'Status', message: 'pods "gone" not found', reason: 'NotFound', code: 404 });
      socket.end(
        `HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      return;
    }
    protocols.handleUpgrade(request, socket, head, (channel) => {
      sockets.add(channel);
      const send = (number: number, data: Buffer) => channel.send(Buffer.concat([Buffer.from([number]), data]));
      const port = Buffer.from([0x90, 0x1f]);
      send(0, port);
      send(1, port);
      pod.greet?.(send);
      channel.on('error', () => undefined);
      channel.on('message', (message) => {
        if (Buffer.isBuffer(message)) pod.respond(message.subarray(1), send, channel);
      });
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

/**
 * Sends bytes through a local port and collects the response until the connection ends or `enough`
 * arrived.
 */
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

it('transfers megabytes in both directions, unchanged, on separate connections', async () => {
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

it('reports the error of the kubelet when the port is closed', async () => {
  const { client } = await apiServer({
    respond: () => undefined,
    greet: (send) => send(1, Buffer.from('dial tcp: connection refused')),
  });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  await exchange(forward.localPort, Buffer.from('x'), 1).catch(() => undefined);
  expect(forward.lastError).toContain('connection refused');
  await forward.close();
});

it('reports the error of the API server when the pod does not exist', async () => {
  const { client } = await apiServer({ respond: () => undefined });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gone', port: 1 });
  await exchange(forward.localPort, Buffer.from('x'), 1).catch(() => undefined);
  expect(forward.lastError).toContain('pods "gone" not found');
  await forward.close();
});

it('ends the local connection when the pod ends its connection', async () => {
  const { client } = await apiServer({
    respond: (_data, send, socket) => {
      send(0, Buffer.from('bye'));
      socket.close(1000);
    },
  });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  expect((await exchange(forward.localPort, Buffer.from('x'), 1_000_000)).toString()).toBe('bye');
  await forward.close();
});

it('throttles a fast pod while its reader does not read', async () => {
  let sent = 0;
  const { client } = await apiServer({
    respond: (_data, _send, socket) => {
      const block = Buffer.concat([Buffer.from([0]), Buffer.alloc(1_000_000)]);
      const more = () => {
        if (sent >= 200 || socket.readyState !== socket.OPEN) return;
        sent += 1;
        socket.send(block, more);
      };
      more();
    },
  });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  const local = connect(forward.localPort, '127.0.0.1', () => local.write('x'));
  local.pause();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(sent).toBeGreaterThan(0);
  expect(sent).toBeLessThan(100);
  local.destroy();
  await forward.close();
});

it('ends the local connection when a message is too large for a port-forward', async () => {
  const { client } = await apiServer({ respond: (_data, send) => send(0, Buffer.alloc(17 * 1024 * 1024)) });
  const forward = await openPortForward(client, { namespace: 'n', pod: 'gw', port: 1 });
  expect((await exchange(forward.localPort, Buffer.from('x'), 1)).length).toBe(0);
  expect(forward.lastError).toMatch(/payload/i);
  await forward.close();
});
