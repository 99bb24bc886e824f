// A response that is written to a socket is one that any client understands.

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { expect, it } from 'vitest';
import { endWithResponse, formatResponseHead } from './raw-response.ts';

it('repeats a header that has several values, and leaves out one that has none', () => {
  expect(formatResponseHead(101, 'UPGRADED', { upgrade: 'tcp', 'set-cookie': ['a', 'b'], nothing: undefined })).toBe(
    'HTTP/1.1 101 UPGRADED\r\nupgrade: tcp\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n',
  );
});

it('ends the connection with the response, which has a content-length', async () => {
  const server = createServer((socket) => {
    const body = Buffer.from('nö');
    endWithResponse(socket, 403, { 'content-type': 'text/plain', 'content-length': 99 }, body);
    // A second response does no harm.
    endWithResponse(socket, 500, {}, body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ host: '127.0.0.1', port, agent: false }, resolve).on('error', reject);
  });
  expect(response.statusCode).toBe(403);
  expect(response.headers).toMatchObject({ 'content-length': '3', connection: 'close' });
  let body = '';
  for await (const piece of response) body += piece;
  expect(body).toBe('nö');
  server.close();
});
