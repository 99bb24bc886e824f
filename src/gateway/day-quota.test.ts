// The quota of a day counts the calls of all sessions of a class, also after a restart of the
// gateway.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLogInThisThread } from '../../test/support/log-in-this-thread.ts';
import { DEFAULT_QUOTA, type Quota } from '../api/quota.ts';
import type { AuditStore } from '../audit/store.ts';
import { DayQuota, type QuotaClass } from './day-quota.ts';

const cheap = (quota: Partial<Quota> = {}, generation = 1): QuotaClass => ({
  name: 'cheap',
  generation,
  quota: { ...DEFAULT_QUOTA, maxCostMilliUSDPerDay: 10, ...quota },
});
const used = (costMicroUSD: number, agentClass = 'cheap') => ({
  ...{ agentClass, model: 'm', turn: true, costMicroUSD },
  ...{ inputTokens: 100, outputTokens: 20, cacheReadTokens: 3, cacheWriteTokens: 4 },
});
const bound = (costMicroUSD: number, tokens = 1) => ({ costMicroUSD, tokens });
const dayLimit = expect.objectContaining({ code: 'OPLAB_LIMIT_REACHED', limit: 'day' });
const noon = Date.parse('2026-11-26T12:00:00Z');
const entry = (time: string, params: object) =>
  ({ kind: 'model_call', writer: 'gateway', time, params: { ...params } }) as const;
const at = (costMicroUSD: number, time = '2026-11-26T11:00:00.000Z') => entry(time, used(costMicroUSD));

describe('DayQuota', () => {
  it('refuses a call that could exceed the limit of the class, and says until when', async () => {
    const quota = new DayQuota({ now: () => noon });
    quota.record(at(8000));
    await expect(quota.reserve(cheap(), bound(3000))).rejects.toEqual(dayLimit);
    await expect(quota.reserve(cheap(), bound(3000))).rejects.toThrow(
      'the daily quota of AgentClass cheap is reached: its Incidents used $0.0080 of $0.0100 on 2026-11-26 (UTC)',
    );
    await quota.reserve(cheap(), bound(2000));
  });

  it('counts tokens as well, and each class for itself', async () => {
    const quota = new DayQuota({ now: () => noon });
    quota.record(at(1));
    await expect(quota.reserve(cheap({ maxTokensPerDay: 1000 }), bound(0, 900))).rejects.toThrow('maxTokensPerDay');
    await quota.reserve({ ...cheap({ maxTokensPerDay: 1000 }), name: 'other' }, bound(0, 900));
  });

  it('counts only calls of the gateway, of today', () => {
    const quota = new DayQuota({ now: () => noon });
    quota.record(at(5000, '2026-11-25T23:59:59.999Z'));
    quota.record({ ...at(5000), writer: 'agent' });
    quota.record({ ...at(5000), kind: 'lifecycle' });
    expect(quota.usage(cheap())).toMatchObject({ costMilliUSD: 0, tokens: 0 });
  });

  it('lets parallel calls not exceed the limit together: the second waits for the first', async () => {
    const quota = new DayQuota({ now: () => noon });
    const first = await quota.reserve(cheap(), bound(8000));
    let isAdmitted = false;
    const second = quota.reserve(cheap(), bound(8000)).then(() => {
      isAdmitted = true;
    });
    await Promise.resolve();
    expect(isAdmitted).toBe(false);
    quota.record(at(1000));
    first.release();
    await second;
    expect(isAdmitted).toBe(true);
  });

  it('counts a call that could not be recorded', async () => {
    const quota = new DayQuota({ now: () => noon });
    (await quota.reserve(cheap(), bound(8000))).release(used(8000));
    expect(quota.usage(cheap())).toMatchObject({ costMilliUSD: 8, tokens: 124 });
  });

  it('reports the refusal until the next day or until the class changes', async () => {
    let now = noon;
    const changes: [string, boolean][] = [];
    const quota = new DayQuota({ now: () => now, onChange: (...change) => changes.push(change) });
    await expect(quota.reserve(cheap(), bound(11_000))).rejects.toEqual(dayLimit);
    expect(changes).toEqual([['cheap', true]]);
    expect(quota.usage(cheap())).toMatchObject({ date: '2026-11-26', limitReached: 'cost', observedGeneration: 1 });
    expect(quota.usage(cheap({}, 2)).limitReached).toBeUndefined();
    now += 86_400_000;
    expect(quota.usage(cheap())).toEqual({ date: '2026-11-27', costMilliUSD: 0, tokens: 0, observedGeneration: 1 });
  });

  it('keeps the refusal over a restart, from the status of the class', () => {
    const day = {
      date: '2026-11-26',
      costMilliUSD: 9,
      tokens: 1,
      limitReached: 'cost',
      observedGeneration: 1,
    } as const;
    const restored = new DayQuota({ now: () => noon });
    restored.restore(cheap(), day);
    expect(restored.usage(cheap()).limitReached).toBe('cost');
    const raised = new DayQuota({ now: () => noon });
    raised.restore(cheap({}, 2), day);
    expect(raised.usage(cheap({}, 2)).limitReached).toBeUndefined();
    const tomorrow = new DayQuota({ now: () => noon + 86_400_000 });
    tomorrow.restore(cheap(), day);
    expect(tomorrow.usage(cheap()).limitReached).toBeUndefined();
  });

  it('starts again at midnight, but keeps what calls in progress have reserved', async () => {
    let now = noon;
    const quota = new DayQuota({ now: () => now });
    quota.record(at(9000));
    now += 86_400_000;
    await quota.reserve(cheap(), bound(9000));
    const waits = quota.reserve(cheap(), bound(9000));
    expect(await Promise.race([waits.then(() => 'admitted'), Promise.resolve('waits')])).toBe('waits');
  });
});

describe('the log', () => {
  let directory: string;
  let log: AuditStore;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'oplab-day-'));
    log = await openLogInThisThread({ path: path.join(directory, 'audit.db') });
  });
  afterEach(async () => {
    await log.close();
    await rm(directory, { recursive: true, force: true });
  });
  const call = (session: string, clientKey: string, params: ReturnType<typeof used>, writer: 'gateway' | 'agent') =>
    log.append({ session, attempt: 1, writer }, { clientKey, kind: 'model_call', params, content: '' });

  it('rebuilds after a restart exactly what was counted before it', async () => {
    const before = new DayQuota();
    log.onAppend((entry) => before.record(entry));
    await call('a', '1', used(3000), 'gateway');
    await call('b', '1', used(4000), 'gateway');
    await call('b', '1', used(4000), 'gateway'); // The same call again.
    await call('b', '2', used(7000, 'other'), 'gateway');
    await call('b', '3', used(9000), 'agent');
    await log.append(
      { session: 'b', attempt: 1, writer: 'gateway' },
      { clientKey: '4', kind: 'model_call', params: { model: 'm', status: 500 }, content: '' },
    );
    const after = new DayQuota();
    await after.load(log);
    expect(after.usage(cheap())).toEqual(before.usage(cheap()));
    expect(after.usage(cheap())).toMatchObject({ costMilliUSD: 7, tokens: 248 });
    expect(await log.spendingSince(new Date(Date.now() + 1000).toISOString())).toEqual([]);
  });
});
