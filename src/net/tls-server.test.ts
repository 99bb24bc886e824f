// A TLS server limits the connections of each address.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { issueCertificate } from '../../test/support/certificates.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { createTlsServer, listen } from './tls-server.ts';

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function serverWith(connections: { total: number; perAddress: number }) {
  const dir = await mkdtemp(path.join(tmpdir(), 'oplab-tls-'));
  const { cert, key } = await issueCertificate('server');
  const [certFile, keyFile] = [path.join(dir, 'tls.crt'), path.join(dir, 'tls.key')];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  const stop = new AbortController();
  const server = createTlsServer({ certFile, keyFile }, (_, response) => response.end(), {
    logger: silentLogger(),
    signal: stop.signal,
    connections,
  });
  const port = await listen(server, 0);
  stops.push(async () => {
    stop.abort();
    server.closeAllConnections();
    server.close();
    await rm(dir, { recursive: true, force: true });
  });
  /** A connection from one of the addresses of the loopback. */
  return async (localAddress: string) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.on('error', () => {});
    stops.push(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
}

/** Whether the server keeps the connection open. */
const isOpen = async (socket: Socket) => {
  await Promise.race([once(socket, 'close'), new Promise((resolve) => setTimeout(resolve, 200))]);
  return !socket.closed;
};

it('closes connections of an address that has too many, and no others', async () => {
  const open = await serverWith({ total: 100, perAddress: 2 });
  const [first, second] = [await open('127.0.0.1'), await open('127.0.0.1')];
  const third = await open('127.0.0.1');
  expect([await isOpen(first), await isOpen(second), await isOpen(third)]).toEqual([true, true, false]);
  expect(await isOpen(await open('127.0.0.2'))).toBe(true);
  first.destroy();
  await once(first, 'close');
  expect(await isOpen(await open('127.0.0.1'))).toBe(true);
});

it('closes connections over the total', async () => {
  const open = await serverWith({ total: 1, perAddress: 10 });
  expect(await isOpen(await open('127.0.0.1'))).toBe(true);
  expect(await isOpen(await open('127.0.0.2'))).toBe(false);
});
