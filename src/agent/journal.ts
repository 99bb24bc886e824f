// Keeps the state of the loop with the gateway, so that another process can go on.

import { errorMessage, OplabError } from '../errors.ts';
import { type LoopState, type RecordPlace, type StateRecord, StateRecorder } from './loop-state.ts';

export interface Journal {
  /**
   * Resolves when everything that is needed to go on from here is kept.
   * @throws OplabError if the lease is over, or if another process has taken over
   */
  save(state: LoopState): Promise<void>;
}

export interface JournalOptions {
  readonly send: (record: StateRecord, place: RecordPlace) => Promise<void>;
  /** The state that was read back, and the number of its records. */
  readonly known: { readonly state: LoopState; readonly records: number } | undefined;
  /** Called once, when a conversation is too long to be kept. The attempt then ends with its process. */
  readonly onLost: (reason: string) => void;
}

export function createJournal({ send, known, onLost }: JournalOptions): Journal {
  const recorder = new StateRecorder(known?.state);
  let next = known?.records ?? 0;
  let isLost = false;

  async function attempt(state: LoopState, isWhole: boolean): Promise<void> {
    await send(recorder.record(state, isWhole), { index: isWhole ? 0 : next, isWhole });
    next = isWhole ? 1 : next + 1;
  }

  return {
    async save(state) {
      if (isLost) return;
      const isFirst = next === 0;
      try {
        await attempt(state, isFirst).catch(async (error: unknown) => {
          // What was trimmed from the conversation is still in the earlier records.
          if (isFirst || !isTooLarge(error)) throw error;
          await attempt(state, true);
        });
      } catch (error) {
        if (!isTooLarge(error)) throw error;
        isLost = true;
        onLost(errorMessage(error));
      }
    },
  };
}

function isTooLarge(error: unknown): boolean {
  return error instanceof OplabError && error.code === 'OPLAB_TOO_LARGE';
}
