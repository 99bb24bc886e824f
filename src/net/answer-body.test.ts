// Bodies that are too long, pause for too long, or are cut off.

import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { BodyTooLarge, CutOff, readAnswer, readBeginning, readPieces } from './answer-body.ts';
import { openRequest, type TimeLimits } from './request.ts';
import { TimedOut } from './timed-out.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function answer(write: (response: ServerResponse) => void, limits: TimeLimits = {}): Promise<IncomingMessage> {
  const listening = createServer((_, response) => write(response));
  server = listening;
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const outgoing = openRequest({ url: new URL(`http://127.0.0.1:${port}`), limits });
  outgoing.body.end();
  return await outgoing.receiveResponse();
}

it('reads a whole body', async () => {
  const response = await answer((to) => {
    to.write('one ');
    setTimeout(() => to.end('two'), 20);
  });
  expect((await readAnswer(response, 7, { silenceMs: 5000, wholeMs: 5000 })).toString()).toBe('one two');
});

it('reads no byte beyond its limit, and closes the connection', async () => {
  const closed = Promise.withResolvers<void>();
  const response = await answer((to) => {
    to.once('close', closed.resolve);
    to.write('12345678');
  });
  await expect(readAnswer(response, 7)).rejects.toThrow(BodyTooLarge);
  await closed.promise;
});

it('rejects an incomplete body', async () => {
  const response = await answer((to) => {
    to.writeHead(200, { 'content-length': 10 }).write('abc');
    setTimeout(() => to.destroy(), 20);
  });
  await expect(readAnswer(response, 100)).rejects.toThrow(CutOff);
});

it('ends after silence, and not while pieces still arrive', async () => {
  const response = await answer((to) => {
    to.write('0');
    for (const at of [1, 2, 3]) setTimeout(() => to.write(String(at)), at * 100);
  });
  let body = '';
  const read = async () => {
    for await (const piece of readPieces(response, { silenceMs: 250 })) body += piece;
  };
  await expect(read()).rejects.toThrow(new TimedOut('silence', 250));
  expect(body).toBe('0123');
});

it('does not mistake a slow reader for a silent answer', async () => {
  const response = await answer((to) => void to.end('abc'));
  for await (const _ of readPieces(response, { silenceMs: 50 })) await sleep(150);
  expect(response.complete).toBe(true);
});

it('ends when the whole body takes too long, by the limit of the reader or of the request', async () => {
  const drip = (to: ServerResponse) => {
    const timer = setInterval(() => to.write('.'), 20);
    to.once('close', () => clearInterval(timer));
    to.write('.');
  };
  await expect(readAnswer(await answer(drip), 1e6, { wholeMs: 100 })).rejects.toMatchObject({ phase: 'whole' });
  await expect(readAnswer(await answer(drip, { whole: 100 }), 1e6)).rejects.toMatchObject({ phase: 'whole' });
});

it('ends with the reason of the signal, before and during the reading', async () => {
  const stop = new AbortController();
  const endless = (to: ServerResponse) => void to.write('a');
  const reading = readAnswer(await answer(endless), 100, { signal: stop.signal });
  setTimeout(() => stop.abort(new Error('the lease ended')), 50);
  await expect(reading).rejects.toThrow('the lease ended');
  await expect(readAnswer(await answer(endless), 100, { signal: stop.signal })).rejects.toThrow('the lease ended');
});

it('reads the beginning of a body that is too long, too slow or cut off', async () => {
  const long = await answer((to) => void to.end('1234567890'));
  expect((await readBeginning(long, 4, 5000)).toString()).toBe('1234');
  const slow = await answer((to) => void to.write('ab'));
  expect((await readBeginning(slow, 4, 100)).toString()).toBe('ab');
  const cut = await answer((to) => {
    to.write('abc');
    setTimeout(() => to.destroy(), 20);
  });
  expect((await readBeginning(cut, 4, 5000)).toString()).toBe('abc');
});
