// Counts requests in progress per session, so that a session is sealed only after them.

export class InFlight {
  readonly #counts = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();

  /**
   * Marks the start of a request that will write to the session. Returns a function that marks its
   * end.
   */
  begin(session: string): () => void {
    this.#counts.set(session, (this.#counts.get(session) ?? 0) + 1);
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      const left = (this.#counts.get(session) ?? 1) - 1;
      if (left > 0) {
        this.#counts.set(session, left);
        return;
      }
      this.#counts.delete(session);
      for (const resolve of this.#waiting.get(session) ?? []) resolve();
      this.#waiting.delete(session);
    };
  }

  /** Resolves with true when no request is in progress, or with false after `timeoutMs`. */
  async drained(session: string, timeoutMs: number): Promise<boolean> {
    if (!this.#counts.has(session)) return true;
    return await new Promise<boolean>((resolve) => {
      const waiting = this.#waiting.get(session) ?? new Set();
      this.#waiting.set(session, waiting);
      const done = () => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        waiting.delete(done);
        resolve(false);
      }, timeoutMs);
      waiting.add(done);
    });
  }
}
