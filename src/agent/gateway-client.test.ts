// What the agent sends again, and what ends it.

import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { refuse } from '../../test/support/fake-gateway.ts';
import { GatewayClient } from './gateway-client.ts';

let dir: string;
let server: Server | undefined;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-gateway-client-'));
  await writeFile(path.join(dir, 'token'), 't0ken\n');
});
afterAll(() => rm(dir, { recursive: true, force: true }));
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** A client of a gateway that refuses the first request in this way, and takes the second one. */
async function client(status: number, body: string | { code: string }) {
  let asked = 0;
  const listening = createServer((request, response) => {
    request.resume();
    asked += 1;
    if (asked > 1) response.end(JSON.stringify({ alreadyStarted: false }));
    else if (typeof body === 'string') response.writeHead(status).end(body);
    else refuse(response, status, body.code);
  });
  server = listening;
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const onRetry = vi.fn();
  return { gateway: new GatewayClient({ url, tokenFile: path.join(dir, 'token'), onRetry }), onRetry };
}
const signal = new AbortController().signal;

it.each([
  ['a known code that may pass, whatever its status', 409, { code: 'OPLAB_NO_LEASE_YET' }],
  ['a known code that may pass', 503, { code: 'OPLAB_AUDIT_UNAVAILABLE' }],
  ['a code of a newer gateway, by its status', 503, { code: 'OPLAB_OF_TOMORROW' }],
  ['what a proxy says', 502, '<html>bad gateway</html>'],
  ['a token that was just rotated', 401, { code: 'OPLAB_UNAUTHENTICATED' }],
])('sends a request again after %s', async (_, status, body) => {
  const { gateway, onRetry } = await client(status, body);
  expect(await gateway.start(0, signal)).toMatchObject({ alreadyStarted: false });
  expect(onRetry).toHaveBeenCalledTimes(1);
});

it.each([
  ['a known code that is final, whatever its status', 503, 'OPLAB_NOT_ALLOWED', 'OPLAB_NOT_ALLOWED'],
  ['a sealed session', 403, 'OPLAB_SESSION_SEALED', 'OPLAB_SESSION_SEALED'],
  ['a limit', 429, 'OPLAB_LIMIT_REACHED', 'OPLAB_LIMIT_REACHED'],
  ['a code of a newer gateway that ends the lease', 403, 'OPLAB_OF_TOMORROW', 'OPLAB_NO_LEASE'],
  ['a code of a newer gateway that refuses', 422, 'OPLAB_OF_TOMORROW', 'OPLAB_GATEWAY_REFUSED'],
])('ends with %s', async (_, status, code, expected) => {
  const { gateway, onRetry } = await client(status, { code });
  await expect(gateway.start(0, signal)).rejects.toMatchObject({ code: expected });
  expect(onRetry).not.toHaveBeenCalled();
});
