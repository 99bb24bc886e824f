import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { interpretAnswer, post } from './post.ts';

const SECRET = '/services/T000/SECRET';
const MESSAGE = { body: '{"text":"hello"}', idempotencyKey: 'key-1' };
const LIMIT_MS = 400;
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function listen(server: net.Server): Promise<URL> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return new URL(`http://127.0.0.1:${address.port}${SECRET}`);
}
const answering = (handler: (request: IncomingMessage, response: ServerResponse) => void) =>
  listen(createServer(handler));

describe('a POST', () => {
  it('contains the message and its idempotency key', async () => {
    const seen: unknown[] = [];
    const url = await answering((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        seen.push([request.method, request.url, request.headers['idempotency-key'], body]);
        response.end('ok');
      });
    });
    expect(await post(url, MESSAGE)).toEqual({ type: 'sent' });
    expect(seen).toEqual([['POST', SECRET, 'key-1', MESSAGE.body]]);
  });

  it('to a port without a listener may be repeated', async () => {
    const server = net.createServer();
    const url = await listen(server);
    await new Promise<void>((resolve) => server.close(() => resolve()));
    expect(await post(url, MESSAGE)).toEqual({ type: 'again', why: 'the connection was refused' });
  });

  it('whose connection was not established may be repeated', async () => {
    // The server does not answer the TLS handshake, so no byte of the message is sent.
    const url = await listen(net.createServer(() => {}));
    url.protocol = 'https:';
    expect(await post(url, MESSAGE, LIMIT_MS)).toMatchObject({ type: 'again' });
  });

  it('without an answer may have arrived', async () => {
    const url = await answering((request) => request.resume());
    expect(await post(url, MESSAGE, LIMIT_MS)).toEqual({ type: 'unknown', why: `no answer within ${LIMIT_MS} ms` });
  });

  it('whose connection is closed after the body may have arrived', async () => {
    const url = await answering((request) => request.on('end', () => request.socket.destroy()).resume());
    expect(await post(url, MESSAGE, LIMIT_MS)).toEqual({ type: 'unknown', why: 'the connection was closed' });
  });

  it('that is refused reports the word of the receiver, but never text that contains the URL', async () => {
    let body = 'no_service';
    const url = await answering((_request, response) => response.writeHead(404).end(body));
    expect(await post(url, MESSAGE)).toEqual({ type: 'refused', why: 'the receiver answered 404 no_service' });
    body = `Cannot POST ${SECRET}`;
    expect(await post(url, MESSAGE)).toEqual({ type: 'refused', why: 'the receiver answered 404' });
  });
});

it.each([
  [200, undefined, { type: 'sent' }],
  [204, undefined, { type: 'sent' }],
  [302, undefined, { type: 'refused' }],
  [400, undefined, { type: 'refused' }],
  [429, '7', { type: 'again', afterMs: 7000 }],
  [429, 'Sun, 01 Mar 2026 12:01:00 GMT', { type: 'again', afterMs: 60_000 }],
  [429, 'soon', { type: 'again' }],
  [429, '999999', { type: 'again', afterMs: 3600_000 }],
  [500, undefined, { type: 'again' }],
  [503, '1', { type: 'again', afterMs: 1000 }],
  [504, undefined, { type: 'unknown' }],
])('an answer %i with Retry-After %s determines the delivery', (status, retryAfter, delivery) => {
  expect(interpretAnswer(status, retryAfter, new Date('2026-03-01T12:00:00Z'))).toMatchObject(delivery);
});
