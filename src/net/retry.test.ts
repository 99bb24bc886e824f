// Delays between tries, and pauses that a signal ends.

import { expect, it } from 'vitest';
import { backoffMs, pause, REQUEST_BACKOFF } from './retry.ts';

it('waits longer with each failure, up to a limit', () => {
  expect(backoffMs(1, REQUEST_BACKOFF, () => 1)).toBe(250);
  expect(backoffMs(4, REQUEST_BACKOFF, () => 0)).toBe(1000);
  expect(backoffMs(60, REQUEST_BACKOFF, () => 1)).toBe(15_000);
});

it('never waits less than half of a step, so that no failure is retried immediately', () => {
  for (let failures = 1; failures < 20; failures += 1) {
    expect(backoffMs(failures, REQUEST_BACKOFF, () => 0)).toBeGreaterThanOrEqual(REQUEST_BACKOFF.baseMs / 2);
  }
});

it('ends a pause immediately when the signal aborts, before or during it', async () => {
  const stop = new AbortController();
  const started = performance.now();
  const waiting = pause(60_000, stop.signal);
  stop.abort();
  await waiting;
  await pause(60_000, stop.signal);
  expect(performance.now() - started).toBeLessThan(5000);
});
