// Spliced connections forward data in both directions and end with the lease.

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { startKubeDoor } from '../../../../test/support/kube-door.ts';

/** The door with an API server that answers upgrades with `upgrade`. */
const door = (upgrade: (request: IncomingMessage, socket: Duplex) => void, more: { auditFails?: boolean } = {}) =>
  startKubeDoor({ upgrade, ...more });

const echo = (_: IncomingMessage, socket: Duplex) => {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\nhello',
  );
  socket.pipe(socket);
};

describe('upgrade', () => {
  it('splices both directions, acts as the attempt, and records command, byte counts and end', async () => {
    const through = await door(echo);
    const { socket, response } = await through.connect({
      connection: 'Upgrade',
      upgrade: 'websocket',
      'impersonate-user': 'admin',
      'sec-websocket-protocol': 'v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA',
    });
    expect(response.statusCode).toBe(101);
    expect(response.headers['sec-websocket-protocol']).toBe('v5.channel.k8s.io');
    const [request] = through.seen;
    expect(request?.headers).toMatchObject({
      authorization: 'Bearer attempt-token',
      'sec-websocket-protocol': 'v5.channel.k8s.io',
    });
    expect(request?.headers['impersonate-user']).toBeUndefined();

    const sent = Buffer.alloc(5_000_000, 'x');
    let received = 0;
    socket?.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received === sent.length + 5) socket.end();
    });
    socket?.write(sent);
    if (socket !== undefined) await once(socket, 'close');
    await expect.poll(() => through.entries.length).toBe(2);
    expect(through.entries[0]).toMatchObject({
      kind: 'kube_intent',
      content: 'exec pods/exec patient/x: cat',
      params: { protocol: 'websocket' },
    });
    expect(through.entries[1]).toMatchObject({
      kind: 'kube_outcome',
      params: { status: 101, bytesIn: sent.length, bytesOut: sent.length + 5 },
    });
  });

  it('cuts both sides at once when the lease dies, and says so', async () => {
    const through = await door(echo);
    const { socket } = await through.connect();
    socket?.resume();
    through.kill();
    if (socket !== undefined) await once(socket, 'close');
    await expect.poll(() => through.entries.at(-1)?.content).toContain('the lease ended: the Incident is cancelled');
  });

  it("forwards the API server's refusal unchanged", async () => {
    const through = await door(
      (_, socket) =>
        void socket.end(
          'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"message":"no"}',
        ),
    );
    const { response } = await through.connect();
    expect(response.statusCode).toBe(403);
    response.resume();
    expect(through.entries[1]).toMatchObject({ kind: 'kube_outcome', params: { status: 403 } });
  });

  it('connects nothing that cannot be recorded', async () => {
    const through = await door(echo, { auditFails: true });
    const { response } = await through.connect();
    expect(response.statusCode).toBe(503);
    response.resume();
    expect(through.seen).toEqual([]);
  });

  it('refuses other protocols', async () => {
    const through = await door(echo);
    const { response } = await through.connect({ connection: 'Upgrade', upgrade: 'h2c' });
    expect(response.statusCode).toBe(400);
    response.resume();
  });
});
