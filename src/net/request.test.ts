// Outgoing requests against servers that hang up, fall silent or change the protocol.

import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import https from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { issueCertificate } from '../../test/support/certificates.ts';
import { createAgent, openRequest, type RequestOptions } from './request.ts';
import { TimedOut } from './timed-out.ts';

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function listen(server: Server, scheme = 'http'): Promise<URL> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return new URL(`${scheme}://127.0.0.1:${address.port}/`);
}
const answering = (handler: RequestListener) => listen(createHttpServer(handler));
const raw = (handler: (socket: Socket) => void) => listen(createServer(handler));

function send(options: RequestOptions) {
  const outgoing = openRequest(options);
  outgoing.body.end();
  return outgoing;
}

describe('an error', () => {
  it('before anyone waits for the answer is not unhandled, and rejects a later wait', async () => {
    const url = await raw((socket) => socket.destroy());
    const outgoing = send({ url });
    await sleep(100);
    await expect(outgoing.receiveHead()).rejects.toThrow(/socket hang up|ECONNRESET/);
  });

  it('of an abandoned request that nobody waits for is not unhandled', async () => {
    const url = await answering(() => {});
    const outgoing = send({ url });
    outgoing.destroy(new Error('given up'));
    outgoing.destroy();
    await sleep(50);
    await expect(outgoing.receiveHead()).rejects.toThrow('given up');
  });

  it('after the head of the answer is not unhandled', async () => {
    let server: Socket | undefined;
    const url = await raw((socket) => {
      server = socket;
      socket.on('error', () => undefined);
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'));
    });
    const outgoing = openRequest({ url, method: 'POST' });
    outgoing.body.write('first');
    const response = await outgoing.receiveResponse();
    server?.resetAndDestroy();
    outgoing.body.write('second');
    await sleep(50);
    expect(response.complete).toBe(false);
  });

  it('of a port without a listener says so', async () => {
    const server = createServer();
    const url = await listen(server);
    server.close();
    const outgoing = send({ url });
    await expect(outgoing.receiveHead()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(outgoing.isConnected).toBe(false);
  });
});

describe('a time limit', () => {
  it('ends a connection that is not established', async () => {
    // A TLS client, and a server that sends nothing.
    const url = await raw(() => {});
    url.protocol = 'https:';
    const outgoing = send({ url, limits: { connect: 50, head: 5000 } });
    await expect(outgoing.receiveHead()).rejects.toMatchObject({ phase: 'connect' });
    expect(outgoing.isConnected).toBe(false);
  });

  it('ends the wait for the head, and the connection with it', async () => {
    const closed = Promise.withResolvers<void>();
    const url = await answering((request) => void request.socket.once('close', closed.resolve));
    const outgoing = send({ url, limits: { connect: 5000, head: 50 } });
    await expect(outgoing.receiveHead()).rejects.toThrow(new TimedOut('head', 50));
    expect(outgoing.isConnected).toBe(true);
    await closed.promise;
  });

  it('ends an answer that does not end', async () => {
    const url = await answering((_, response) => void response.writeHead(200).write('a'));
    const response = await send({ url, limits: { head: 5000, whole: 100 } }).receiveResponse();
    const read = async () => {
      for await (const _ of response);
    };
    await expect(read()).rejects.toMatchObject({ phase: 'whole' });
  });

  it('that was not exceeded ends nothing', async () => {
    const url = await answering((_, response) => {
      response.writeHead(200).write('a');
      setTimeout(() => response.end('b'), 150);
    });
    const response = await send({ url, limits: { connect: 100, head: 100 } }).receiveResponse();
    let body = '';
    for await (const piece of response) body += piece;
    expect(body).toBe('ab');
  });
});

it('an abort ends the request with the reason of the signal, before and during the wait', async () => {
  const url = await answering(() => {});
  const stop = new AbortController();
  const waiting = send({ url }).receiveHead(stop.signal);
  stop.abort(new Error('the lease ended'));
  await expect(waiting).rejects.toThrow('the lease ended');
  await expect(send({ url }).receiveHead(stop.signal)).rejects.toThrow('the lease ended');
});

describe('an upgrade', () => {
  const upgrading = () =>
    raw((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst');
        socket.on('data', (piece) => socket.write(piece));
      });
    });
  const headers = { connection: 'Upgrade', upgrade: 'tcp' };

  it('returns the socket, and the bytes that have already arrived on it', async () => {
    const head = await send({ url: await upgrading(), headers }).receiveHead();
    if (head.type !== 'upgrade') throw new Error(head.type);
    expect(head.rest.toString()).toBe('first');
    head.socket.write('more');
    expect(String((await once(head.socket, 'data'))[0])).toBe('more');
    // Nobody listens for this.
    head.socket.destroy(new Error('reset'));
  });

  it('that was not asked for is a failure', async () => {
    const outgoing = send({ url: await upgrading(), headers });
    await expect(outgoing.receiveResponse()).rejects.toThrow('without being asked');
  });

  it('that is refused is a response', async () => {
    const url = await answering((_, response) => response.writeHead(403).end());
    expect(await send({ url, headers }).receiveHead()).toMatchObject({
      type: 'response',
      response: { statusCode: 403 },
    });
  });
});

it('sends path and headers as they are given, and the credentials of the URL', async () => {
  const url = await answering(({ url: path, headers: { host, authorization } }, response) => {
    response.end(JSON.stringify({ path, host, authorization }));
  });
  url.username = 'me';
  url.password = 'p%40ss';
  const response = await send({ url, path: '/a/../b%2f?c=%7E', headers: { host: 'other' } }).receiveResponse();
  const [body] = await once(response, 'data');
  expect(JSON.parse(String(body))).toEqual({
    path: '/a/../b%2f?c=%7E',
    host: 'other',
    authorization: `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
  });
});

it('says whether a connection had been used before', async () => {
  const url = await answering((_, response) => void response.end());
  const agent = createAgent(url);
  stops.push(() => agent.destroy());
  for (const isReused of [false, true]) {
    const outgoing = send({ url, agent });
    (await outgoing.receiveResponse()).resume();
    expect(outgoing.isReused).toBe(isReused);
    expect(outgoing.isConnected).toBe(true);
    await sleep(50);
  }
});

it('trusts the given CA, and takes the server name from the URL, not from the Host header', async () => {
  const { cert, key } = await issueCertificate('server');
  const names: (string | false | null)[] = [];
  const server = https.createServer({ cert, key }, ({ socket }, response) => {
    if ('servername' in socket) names.push((socket as TLSSocket & { servername: string | false }).servername);
    response.end();
  });
  const url = await listen(server, 'https');
  const headers = { host: 'elsewhere.example' };
  expect((await send({ url, headers, tls: { ca: cert } }).receiveResponse()).statusCode).toBe(200);
  await expect(send({ url, headers }).receiveResponse()).rejects.toThrow(/self-signed/);
  expect(names).toEqual([false]);
});
