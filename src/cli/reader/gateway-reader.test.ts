// How the reader classifies errors: blocked ports, missing sessions, responses of other servers.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { expect, it } from 'vitest';
import { InvalidInput } from '../../errors.ts';
import { openGatewayReader } from './gateway-reader.ts';

it('reports a port that fetch blocks instead of waiting for it', async () => {
  let connections = 0;
  const reader = openGatewayReader({
    connect: async () => {
      connections += 1;
      return { url: 'http://127.0.0.1:1', close: async () => undefined };
    },
    retryMs: 10,
  });
  const blocked = { constructor: InvalidInput, message: expect.stringContaining('--gateway http://127.0.0.1:1: ') };
  await expect(reader.sessions()).rejects.toMatchObject(blocked);
  expect(connections).toBe(1);
  const events = reader.follow('x', { signal: AbortSignal.timeout(5000) })[Symbol.asyncIterator]();
  await expect(events.next()).rejects.toMatchObject(blocked);
});

it.each([
  {
    body: JSON.stringify({ error: { code: 'OPLAB_NOT_FOUND', message: 'session x is not in the log' } }),
    waiting: { reason: 'session x is not in the log', code: 'OPLAB_NOT_FOUND' },
  },
  {
    body: '<h1>Not Found</h1>',
    waiting: { reason: 'HTTP 404 <h1>Not Found</h1>', code: 'OPLAB_GATEWAY_REFUSED' },
  },
])('waits with $waiting.code for a 404 with the body $body', async ({ body, waiting }) => {
  const server = createServer((_request, response) => response.writeHead(404).end(body));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const reader = openGatewayReader({
    connect: async () => ({ url: `http://127.0.0.1:${port}`, close: async () => undefined }),
    retryMs: 10,
  });
  const stop = new AbortController();
  const events = reader.follow('x', { signal: stop.signal })[Symbol.asyncIterator]();
  expect((await events.next()).value).toEqual({ type: 'waiting', ...waiting });
  stop.abort();
  await events.return?.(undefined);
  await reader.close();
  server.closeAllConnections();
  server.close();
});

it('reports that the gateway cannot be reached', async () => {
  const nobody = createServer();
  await new Promise<void>((resolve) => nobody.listen(0, '127.0.0.1', resolve));
  const address = nobody.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  await new Promise((resolve) => nobody.close(resolve));
  const reader = openGatewayReader({
    connect: async () => ({ url: `http://127.0.0.1:${address.port}`, close: async () => undefined }),
    retryMs: 10,
  });
  await expect(reader.sessions()).rejects.toMatchObject({
    code: 'OPLAB_GATEWAY_UNREACHABLE',
    message: expect.stringMatching(/ECONNREFUSED/),
  });
});
