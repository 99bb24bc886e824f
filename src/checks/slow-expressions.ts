// Remembers expressions that were too slow, so that they are not evaluated again at once.

/** The pause after two times in a row, in milliseconds. It doubles with each further time. */
const PAUSE_MS = 30_000;
const MAX_PAUSE_MS = 600_000;
const MAX_KEPT = 5000;

export class SlowExpressions {
  readonly #now: () => number;
  /** By owner and expression: how often in a row, and until when it is not evaluated. */
  readonly #known = new Map<string, { readonly times: number; readonly until: number }>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  isRefused(owner: string, expression: string): boolean {
    const known = this.#known.get(keyOf(owner, expression));
    return known !== undefined && this.#now() < known.until;
  }

  /** It was too slow. The first time may be the fault of a busy machine. */
  add(owner: string, expression: string): void {
    const key = keyOf(owner, expression);
    const times = (this.#known.get(key)?.times ?? 0) + 1;
    const pause = times === 1 ? 0 : Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** (times - 2));
    this.#known.delete(key);
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_KEPT && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, { times, until: this.#now() + pause });
  }

  /** It was quick enough. */
  forget(owner: string, expression: string): void {
    this.#known.delete(keyOf(owner, expression));
  }
}

function keyOf(owner: string, expression: string): string {
  return `${owner}\n${expression}`;
}
