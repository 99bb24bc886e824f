// Calls that an earlier gateway did not finish are charged once, and never to a log that is broken.

import { expect, it, vi } from 'vitest';
import { silentLogger } from '../../test/support/silent-logger.ts';
import type { NewEntry } from '../audit/entry.ts';
import type { Authorship, Reservation } from '../audit/log.ts';
import { SessionSealed } from '../errors.ts';
import { AbandonedCalls } from './abandoned-calls.ts';

const bound = {
  ...{ model: 'm', inputTokens: 1, outputTokens: 1, cacheReadTokens: 0, cacheWriteTokens: 0 },
  ...{ costMicroUSD: 5, turn: true },
};
const left = (session: string): Reservation => ({ session, attempt: 1, clientKey: 'call', bound });

it('charges each call, except to a session that is broken or sealed', async () => {
  const append = vi.fn(async (authorship: Authorship, _entry: NewEntry) => {
    if (authorship.session === 'sealed') throw new SessionSealed('sealed');
    return { seq: 1, hash: '', time: '', duplicate: false };
  });
  const onRecord = vi.fn();
  const calls = new AbandonedCalls({
    log: { append, reservations: async () => ['broken', 'sealed', 'intact'].map(left) },
    broken: (session) => (session === 'broken' ? 'set back' : undefined),
    onRecord,
    logger: silentLogger(),
    signal: new AbortController().signal,
  });
  await calls.settle();
  expect(append.mock.calls.map(([{ session }]) => session)).toEqual(['sealed', 'intact']);
  expect(onRecord.mock.calls).toEqual([['intact']]);
  expect(calls.isSettled).toBe(true);
});
