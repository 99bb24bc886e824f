// The work queue: no key twice at a time, no key lost, failures retried later.

import { describe, expect, it } from 'vitest';
import { WorkQueue } from './work-queue.ts';

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs a queue for a while. `work` handles the keys. */
async function runFor(
  ms: number,
  work: (key: string) => Promise<number | undefined>,
  fill: (queue: WorkQueue) => void,
) {
  const stop = new AbortController();
  const queue = new WorkQueue({ process: work, concurrency: 4, backoff: { baseMs: 10, maxMs: 20 } });
  const running = queue.run(stop.signal);
  fill(queue);
  await rest(ms);
  stop.abort();
  await running;
  return queue;
}

describe('a work queue', () => {
  it('handles a key once, however often it is added while it waits', async () => {
    const seen: string[] = [];
    const queue = new WorkQueue({
      process: async (key) => {
        seen.push(key);
        return undefined;
      },
    });
    for (const key of ['a', 'b', 'a', 'a', 'b']) queue.add(key);
    const stop = new AbortController();
    const running = queue.run(stop.signal);
    await rest(30);
    stop.abort();
    await running;
    expect(seen).toEqual(['a', 'b']);
  });

  it('handles a key again if it is added while it is handled, but never twice at a time', async () => {
    let active = 0;
    let most = 0;
    let runs = 0;
    let queue: WorkQueue | undefined;
    const work = async () => {
      active += 1;
      most = Math.max(most, active);
      runs += 1;
      if (runs < 3) queue?.add('a');
      await rest(10);
      active -= 1;
      return undefined;
    };
    await runFor(80, work, (made) => {
      queue = made;
      made.add('a');
    });
    expect({ most, runs }).toEqual({ most: 1, runs: 3 });
  });

  it('handles different keys at the same time, up to its concurrency', async () => {
    let active = 0;
    let most = 0;
    const work = async () => {
      active += 1;
      most = Math.max(most, active);
      await rest(10);
      active -= 1;
      return undefined;
    };
    await runFor(80, work, (queue) => {
      for (let key = 0; key < 10; key += 1) queue.add(String(key));
    });
    expect(most).toBe(4);
  });

  it('retries a failure, and requeues a key on request', async () => {
    let failures = 0;
    const seen: string[] = [];
    const work = async (key: string) => {
      seen.push(key);
      if (key === 'bad' && failures < 2) {
        failures += 1;
        throw new Error('not yet');
      }
      return key === 'later' && seen.filter((one) => one === 'later').length < 2 ? 15 : undefined;
    };
    await runFor(150, work, (queue) => {
      queue.add('bad');
      queue.add('later');
    });
    expect(seen.filter((key) => key === 'bad')).toHaveLength(3);
    expect(seen.filter((key) => key === 'later')).toHaveLength(2);
  });

  it('keeps the earliest of several delayed adds', async () => {
    const seen: string[] = [];
    await runFor(
      150,
      async (key) => {
        seen.push(key);
        return undefined;
      },
      (queue) => {
        queue.addAfter('a', 60_000);
        queue.addAfter('a', 20);
        queue.addAfter('a', 30_000);
      },
    );
    expect(seen).toEqual(['a']);
  });

  it('starts nothing after it is stopped', async () => {
    const seen: string[] = [];
    const queue = await runFor(
      5,
      async (key) => {
        seen.push(key);
        return undefined;
      },
      () => {},
    );
    queue.add('late');
    queue.addAfter('later', 1);
    await rest(20);
    expect(seen).toEqual([]);
  });
});
