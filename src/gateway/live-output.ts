// Live output: chunks of running commands, passed from the agent to the watchers of the session. It
// is never stored, and losing some is harmless.

import type { LiveChunk } from './protocol.ts';

export class LiveOutput {
  readonly #watchers = new Map<string, Set<(chunk: LiveChunk) => void>>();
  readonly #redact: (text: string) => string;

  /** @param redact removes secrets from a text, as the log does */
  constructor(redact: (text: string) => string) {
    this.#redact = redact;
  }

  publish(session: string, chunk: LiveChunk): void {
    const watchers = this.#watchers.get(session);
    if (watchers === undefined) return;
    const redacted = { ...chunk, text: this.#redact(chunk.text) };
    for (const watcher of watchers) watcher(redacted);
  }

  /** Returns a function that ends the subscription. */
  subscribe(session: string, watcher: (chunk: LiveChunk) => void): () => void {
    const watchers = this.#watchers.get(session) ?? new Set();
    this.#watchers.set(session, watchers);
    watchers.add(watcher);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(session) === watchers) this.#watchers.delete(session);
    };
  }
}
