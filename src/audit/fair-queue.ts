// A queue in which sessions take turns, so that a session with a long backlog delays no other.

export class FairQueue<T> {
  readonly #bySession = new Map<string, T[]>();
  readonly #sessionOf: (item: T) => string;
  readonly #sizeOf: (item: T) => number;
  #length = 0;

  /** @param sizeOf the work that an item causes, in bytes */
  constructor(sessionOf: (item: T) => string, sizeOf: (item: T) => number) {
    this.#sessionOf = sessionOf;
    this.#sizeOf = sizeOf;
  }

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    const session = this.#sessionOf(item);
    const waiting = this.#bySession.get(session);
    if (waiting === undefined) this.#bySession.set(session, [item]);
    else waiting.push(item);
    this.#length += 1;
  }

  /**
   * Removes the next items: one of each session in turn, in the order of each session. At least one,
   * then as many as fit.
   */
  take(maxItems: number, maxSize: number): T[] {
    const taken: T[] = [];
    let size = 0;
    while (this.#length > 0 && taken.length < maxItems) {
      const [next] = this.#bySession;
      if (next === undefined) break;
      const [session, waiting] = next;
      const [item] = waiting;
      if (item === undefined) break;
      size += this.#sizeOf(item);
      if (taken.length > 0 && size > maxSize) break;
      waiting.shift();
      this.#length -= 1;
      taken.push(item);
      // The session goes to the end of the line.
      this.#bySession.delete(session);
      if (waiting.length > 0) this.#bySession.set(session, waiting);
    }
    return taken;
  }
}
