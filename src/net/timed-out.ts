// The failure of a phase that took longer than its limit.

/** Until the connection; until the head of the answer; until its end; between two of its pieces. */
export type Phase = 'connect' | 'head' | 'whole' | 'silence';

const WORDS: Readonly<Record<Phase, string>> = {
  connect: 'no connection within',
  head: 'no answer within',
  whole: 'no complete answer within',
  silence: 'the answer paused for more than',
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
