// Waiting for a symptom or its end, with a reason when it does not come.
import { setTimeout as sleep } from 'node:timers/promises';
import { OplabError } from '../../src/errors.ts';

/** How long and for what. */
export interface Wait {
  readonly what: string;
  readonly withinSeconds: number;
  readonly signal: AbortSignal;
  readonly everyMs?: number;
  readonly note?: (text: string) => void;
}

/**
 * Looks until `look` returns something.
 * @throws OplabError OPLAB_PATIENT_WAIT with the last failure when the time is over.
 */
export async function waitFor<T>(wait: Wait, look: () => Promise<T | undefined>): Promise<T> {
  const giveUp = Date.now() + wait.withinSeconds * 1000;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (error) {
      wait.signal.throwIfAborted();
      last = error;
    }
    if (Date.now() >= giveUp)
      throw new OplabError('OPLAB_PATIENT_WAIT', `waited ${wait.withinSeconds} s for ${wait.what}, in vain`, {
        cause: last,
      });
    wait.note?.(wait.what);
    await sleep(wait.everyMs ?? 1000, undefined, { signal: wait.signal });
  }
}
