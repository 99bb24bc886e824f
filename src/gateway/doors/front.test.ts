// The front of the doors alone: whom it admits, what it refuses and reports, and that it always
// releases what it took.

import { describe, expect, it } from 'vitest';
import { lease, useFront } from '../../../test/support/front-harness.ts';
import { InvalidInput, Unauthenticated } from '../../errors.ts';
import { readBody } from '../../net/http-answer.ts';
import { Concurrency } from '../concurrency.ts';

const front = useFront();
const { appended, counted, logged, open, prove, reached, refused } = front;

it('serves an admitted caller, counts it once, and frees its place', async () => {
  const { ask, isIdle } = await open();
  expect(await ask()).toEqual({ status: 200, body: 'answered' });
  expect(counted.mock.calls).toEqual([['wanted', 200]]);
  expect(await isIdle()).toBe(true);
  expect(prove).toHaveBeenCalledTimes(1);
});

it.each([
  ['who cannot prove itself', () => prove.mockRejectedValue(new Unauthenticated('no')), 'OPLAB_UNAUTHENTICATED'],
  ['whose lease has ended', () => (front.decision = { state: 'dead', message: 'no' }), 'OPLAB_NO_LEASE'],
  ['whose lease is not there yet', () => (front.decision = { state: 'pending', message: 'no' }), 'OPLAB_NO_LEASE_YET'],
  ['while nothing can be recorded', () => (front.failure = 'disk full'), 'OPLAB_AUDIT_UNAVAILABLE'],
])('refuses a caller %s, for requests and upgrades alike', async (_, arrange, reason) => {
  arrange();
  const { ask, upgrade, isIdle } = await open();
  for (const how of [ask, upgrade]) {
    refused.mockClear();
    counted.mockClear();
    expect((await how()).status).toBeGreaterThanOrEqual(400);
    expect(refused.mock.calls).toEqual([[{ door: 'kube', reason }]]);
    expect(counted).toHaveBeenCalledTimes(1);
    expect(counted.mock.calls[0]?.[0]).toBeUndefined();
  }
  expect(await isIdle()).toBe(true);
});

it('reports a reached limit once, and authenticates its caller once', async () => {
  front.decision = { state: 'reached', lease, limit: 'turns' };
  const { ask } = await open();
  expect((await ask()).status).toBe(403);
  expect(prove).toHaveBeenCalledTimes(1);
  await ask();
  expect(appended).toMatchObject([{ kind: 'lifecycle', params: { limit: 'turns' } }]);
  expect(reached).toHaveBeenCalledTimes(1);
});

it('lets a caller whose limit is reached report what it did', async () => {
  front.decision = { state: 'reached', lease, limit: 'turns' };
  const { ask } = await open({ purpose: 'report' });
  expect((await ask()).status).toBe(200);
  expect(appended).toEqual([]);
});

it('refuses too many concurrent requests, and accepts the next one', async () => {
  const concurrency = new Concurrency(1);
  const leave = concurrency.enter('s');
  const { ask, isIdle } = await open({ concurrency });
  expect((await ask()).status).toBe(403);
  expect(refused).toHaveBeenLastCalledWith({ door: 'kube', reason: 'OPLAB_TOO_BUSY' });
  leave();
  expect((await ask()).status).toBe(200);
  expect(await isIdle()).toBe(true);
});

it.each([
  ['announced', { 'content-length': '1200' }],
  ['sent in chunks', { 'transfer-encoding': 'chunked' }],
])('refuses a body for which its caller has no memory left, if it is %s', async (_, headers) => {
  const { ask, isIdle } = await open({
    concurrency: new Concurrency(2),
    plan: async (request, caller) => {
      await readBody(request, 10_000, caller.memory.grow);
      return { answer: async (response) => void response.end(`${front.memory.total}`) };
    },
  });
  const other = front.memory.hold('other test');
  other.grow(1024);
  expect(await ask({}, 'x'.repeat(1000))).toEqual({ status: 200, body: '2024' });
  expect(await ask(headers, 'x'.repeat(1200))).toEqual({ status: 403, body: expect.stringContaining('at most 1024') });
  expect(refused.mock.calls).toEqual([[{ door: 'kube', reason: 'OPLAB_OVER_QUOTA' }]]);
  other.release();
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('keeps a failure of its own out of the answer to a %s', async (type) => {
  const { ask, upgrade, isIdle } = await open({
    plan: async () => {
      throw new Error('a secret of the gateway');
    },
  });
  expect(await (type === 'request' ? ask() : upgrade())).toEqual({ status: 500, body: 'failed' });
  expect(logged).toHaveBeenCalledTimes(1);
  expect(refused.mock.calls).toEqual([[{ door: 'kube', reason: 'OPLAB_INTERNAL' }]]);
  expect(counted.mock.calls).toEqual([['wanted', 500]]);
  expect(await isIdle()).toBe(true);
});

it.each(['request', 'upgrade'] as const)('closes the connection of a %s that it cannot even refuse', async (type) => {
  const { ask, upgrade, isIdle } = await open({
    read: () => {
      throw new InvalidInput('not a path');
    },
    refusal: () => {
      throw new Error('a defect of the door');
    },
  });
  await expect(type === 'request' ? ask() : upgrade()).rejects.toThrow('socket hang up');
  expect(logged).toHaveBeenCalledTimes(1);
  expect(counted).toHaveBeenCalledTimes(1);
  expect(await isIdle()).toBe(true);
});

it('counts a request that it could not parse', async () => {
  const { ask } = await open({
    read: () => {
      throw new InvalidInput('not a path');
    },
  });
  expect(await ask()).toEqual({ status: 403, body: 'not a path' });
  expect(counted.mock.calls).toEqual([[undefined, 403]]);
});

it('refuses an upgrade at a door that answers itself', async () => {
  const { upgrade } = await open();
  expect(await upgrade()).toMatchObject({ status: 403, body: 'this door does not support upgrades' });
});

describe('a canary token', () => {
  it.each([
    ['as the bearer token', { authorization: 'Bearer canary-token' }],
    ['in another header beside a valid token', { authorization: 'Bearer valid', 'x-api-key': 'canary-token' }],
    ['as a password', { authorization: `Basic ${Buffer.from('admin:canary-token').toString('base64')}` }],
  ])('ends the lease %s, before the caller is identified', async (_way, headers) => {
    const { ask } = await open();
    const answer = await ask(headers);
    expect(answer).toMatchObject({ status: 403, body: expect.stringContaining('token: the token of a cluster admin') });
    expect(prove).not.toHaveBeenCalled();
  });
});
