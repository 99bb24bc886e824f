// A port that fetch blocks is a user error: no waiting, no retry.

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
