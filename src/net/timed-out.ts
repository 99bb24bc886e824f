// The failure of a phase that took longer than its limit.

/** Connecting; until the head of an answer; until its end; between two pieces of it. */
export type Phase = 'connect' | 'head' | 'whole' | 'silence';

const WORDS: Readonly<Record<Phase, string>> = {
  connect: 'no connection within',
  head: 'no answer within',
  whole: 'no whole answer within',
  silence: 'the answer stopped in the middle for',
};

/** A phase of a request took longer than its limit. */
export class TimedOut extends Error {
  readonly phase: Phase;

  constructor(phase: Phase, limitMs: number) {
    const limit = limitMs < 1000 || limitMs % 1000 !== 0 ? `${limitMs} ms` : `${limitMs / 1000} s`;
    super(`${WORDS[phase]} ${limit}`);
    this.phase = phase;
  }
}
