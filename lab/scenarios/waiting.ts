// Waits for a symptom or its end, and reports why it did not happen.
import { setTimeout as sleep } from 'node:timers/promises';
import { OplabError } from '../../src/errors.ts';

/** What to wait for, and how long. */
export interface Wait {
  readonly what: string;
  readonly withinSeconds: number;
  readonly signal: AbortSignal;
  readonly everyMs?: number;
  readonly note?: (text: string) => void;
}

/**
 * Repeats `probe` until it returns a value.
 * @throws OplabError OPLAB_PATIENT_WAIT with the last failure when the time is up.
 */
export async function waitFor<T>(wait: Wait, probe: () => Promise<T | undefined>): Promise<T> {
  const giveUp = Date.now() + wait.withinSeconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found !== undefined) return found;
    } catch (error) {
      wait.signal.throwIfAborted();
      last = error;
    }
    if (Date.now() >= giveUp)
      throw new OplabError(
        'OPLAB_PATIENT_WAIT',
        `waited ${wait.withinSeconds} s for ${wait.what}, which did not happen`,
        {
          cause: last,
        },
      );
    wait.note?.(`waiting for ${wait.what}`);
    await sleep(wait.everyMs ?? 1000, undefined, { signal: wait.signal });
  }
}
