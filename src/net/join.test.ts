// Two joined connections: half-closes, last bytes, failures.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it, vi } from 'vitest';
import { type JoinOptions, join } from './join.ts';

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** The two ends of one connection, either of which may end its direction alone. */
async function pair(): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const accepted: Promise<Socket[]> = once(server, 'connection');
  const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = await accepted;
  if (near === undefined) throw new Error('no connection');
  server.close();
  for (const end of [near, far]) {
    end.on('error', () => undefined);
    stops.push(() => end.destroy());
  }
  return [near, far];
}

/** A caller and an answerer, joined in the middle. */
async function joined(options: JoinOptions = {}) {
  const [[callerNear, caller], [answererNear, answerer]] = await Promise.all([pair(), pair()]);
  const over = vi.fn();
  const whole = join(callerNear, answererNear, options).then(over);
  return { caller, answerer, over, whole, callerNear, answererNear };
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  for await (const piece of socket) text += piece;
  return text;
}

it('lets the answerer answer after the caller has ended its direction', async () => {
  const { caller, answerer, whole } = await joined();
  caller.end('question');
  expect(await readAll(answerer)).toBe('question');
  answerer.end('answer');
  expect(await readAll(caller)).toBe('answer');
  await whole;
});

it('ends with the end of the answerer, even if the caller still sends', async () => {
  const { caller, answerer, whole } = await joined();
  caller.write('still here');
  answerer.end('bye');
  expect(await readAll(caller)).toBe('bye');
  await whole;
  caller.destroy();
});

it('is not over before a slow caller has read the last bytes', async () => {
  const alive = { now: true };
  const outward = new Transform({
    transform: (piece, _, pass) => (alive.now ? pass(null, piece) : pass()),
  });
  const { caller, answerer, over, whole } = await joined({ outward, lingerMs: 5000 });
  // As when the lease is released: from then on nothing more is sent.
  void whole.then(() => {
    alive.now = false;
  });
  const size = 16 * 1024 * 1024;
  answerer.end(Buffer.alloc(size, 'x'));
  await sleep(200);
  expect(over).not.toHaveBeenCalled();
  expect((await readAll(caller)).length).toBe(size);
  await whole;
});

it('delivers the bytes of an answerer that ends and then resets its connection', async () => {
  const onFailure = vi.fn();
  const { caller, answererNear, answerer } = await joined({ onFailure });
  answerer.end('last words');
  await once(answererNear, 'end');
  answererNear.destroy(new Error('reset'));
  expect(await readAll(caller)).toBe('last words');
  expect(onFailure).not.toHaveBeenCalled();
});

it('reports an answerer that fails before its end, and destroys both', async () => {
  const onFailure = vi.fn();
  const { callerNear, answererNear, whole } = await joined({ onFailure });
  answererNear.destroy(new Error('reset'));
  await whole;
  expect(onFailure).toHaveBeenCalledWith(expect.objectContaining({ message: 'reset' }));
  expect(callerNear.destroyed).toBe(true);
});

it('ends the answerer when the caller disconnects, and reports nothing', async () => {
  const onFailure = vi.fn();
  const { caller, answererNear, whole } = await joined({ onFailure });
  caller.resetAndDestroy();
  await whole;
  expect(answererNear.destroyed).toBe(true);
  expect(onFailure).not.toHaveBeenCalled();
});

it.each(['before', 'after'])('destroys both when the signal aborts %s it has begun', async (when) => {
  const stop = new AbortController();
  if (when === 'before') stop.abort();
  const { callerNear, answererNear, whole } = await joined({ signal: stop.signal });
  stop.abort();
  await whole;
  expect([callerNear.destroyed, answererNear.destroyed]).toEqual([true, true]);
});

it('does not wait for a side that stays open after the other one ended', async () => {
  const { caller, answerer, callerNear, whole } = await joined({ lingerMs: 50 });
  answerer.end();
  caller.resume();
  await whole;
  await vi.waitFor(() => expect(callerNear.destroyed).toBe(true));
});
