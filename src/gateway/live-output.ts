// Live output: chunks of running commands, passed from the agent to the watchers of the session. It
// is never stored, and losing some is harmless.

import type { LiveChunk } from './protocol.ts';

/**
 * How much of the end of a stream is held back, in characters: the next chunk may complete a
 * secret that begins there. Longer secrets are held back from their beginning.
 */
export const HOLD_BACK = 512;
/** Most of a stream that is held back, in characters. More is never shown. */
const MAX_HELD = 65_536;
/** How long a stream must be silent before its complete lines are shown, in milliseconds. */
const SILENCE_MS = 1000;
/** Streams of one session that are remembered. A command has two. */
const MAX_STREAMS = 8;
/** The longest text of one chunk, in characters. The protocol allows twice as much. */
const MAX_TEXT = 32_768;
/** What may begin a secret of several lines. Such text is not shown because of a silence. */
const MULTI_LINE = /-----BEGIN|Secret/i;
const NOT_SHOWN = '\n[oplab: the rest of this output is not shown: it may be part of a secret]\n';

/** The end of one stream, which is not shown yet. */
interface Held {
  text: string;
  /** Text before it was dropped unseen, so it may begin within a secret. */
  torn: boolean;
  /** Nothing of this stream is shown any more. */
  closed: boolean;
  timer: NodeJS.Timeout | undefined;
}

type StreamId = Pick<LiveChunk, 'callKey' | 'stream'>;

export class LiveOutput {
  readonly #watchers = new Map<string, Set<(chunk: LiveChunk) => void>>();
  readonly #held = new Map<string, Map<string, Held>>();
  readonly #redact: (text: string) => string;

  /** @param redact removes secrets from a text, as the log does */
  constructor(redact: (text: string) => string) {
    this.#redact = redact;
  }

  publish(session: string, chunk: LiveChunk): void {
    const held = this.#stream(session, chunk);
    clearTimeout(held.timer);
    if (held.closed) return;
    held.text += chunk.text;
    if (!this.#watchers.has(session)) {
      // Whoever begins to watch must not see the second half of a secret.
      if (held.text.length > 2 * HOLD_BACK) {
        held.text = held.text.slice(-2 * HOLD_BACK);
        held.torn = true;
      }
      return;
    }
    if (held.torn) {
      const end = held.text.indexOf('\n', HOLD_BACK);
      if (end < 0 && held.text.length < MAX_HELD) return;
      held.text = end < 0 ? '' : held.text.slice(end + 1);
      held.torn = false;
    }
    const cut = this.#safeCut(held.text);
    this.#show(session, chunk, held.text.slice(0, cut));
    held.text = held.text.slice(cut);
    if (held.text.length > MAX_HELD) {
      held.closed = true;
      held.text = '';
      this.#send(session, chunk, NOT_SHOWN);
    }
    held.timer = setTimeout(() => this.#silent(session, chunk, held), SILENCE_MS);
    held.timer.unref();
  }

  /** The command has ended: shows what is held back of its streams. */
  end(session: string, callKey: string): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const key = streamKey({ callKey, stream });
      const held = this.#held.get(session)?.get(key);
      if (held === undefined) continue;
      clearTimeout(held.timer);
      if (!held.torn) this.#show(session, { callKey, stream }, held.text);
      this.#held.get(session)?.delete(key);
    }
    if (this.#held.get(session)?.size === 0) this.#held.delete(session);
  }

  /** Forgets a session that has ended. */
  forget(session: string): void {
    for (const held of this.#held.get(session)?.values() ?? []) clearTimeout(held.timer);
    this.#held.delete(session);
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

  #stream(session: string, id: StreamId): Held {
    const streams = this.#held.get(session) ?? new Map<string, Held>();
    this.#held.set(session, streams);
    const key = streamKey(id);
    let held = streams.get(key);
    if (held === undefined) {
      held = { text: '', torn: false, closed: false, timer: undefined };
      streams.set(key, held);
      const [oldest] = streams;
      if (streams.size > MAX_STREAMS && oldest !== undefined) {
        clearTimeout(oldest[1].timer);
        streams.delete(oldest[0]);
      }
    }
    return held;
  }

  /**
   * Where the text can be divided, so that both parts redacted alone show what the whole shows
   * redacted. A secret across the cut would show in one of them. 0 if no such place was found.
   */
  #safeCut(text: string): number {
    if (text.length <= HOLD_BACK) return 0;
    const whole = this.#redact(text);
    for (let back = HOLD_BACK; back < text.length; back *= 2) {
      const cut = wholeCharacters(text, text.length - back);
      if (cut > 0 && this.#redact(text.slice(0, cut)) + this.#redact(text.slice(cut)) === whole) return cut;
    }
    return 0;
  }

  /** A program that waits shows its complete lines, unless a secret of several lines has begun. */
  #silent(session: string, id: StreamId, held: Held): void {
    const cut = held.text.lastIndexOf('\n') + 1;
    const lines = held.text.slice(0, cut);
    if (cut === 0 || held.torn || MULTI_LINE.test(held.text)) return;
    if (this.#redact(lines) + this.#redact(held.text.slice(cut)) !== this.#redact(held.text)) return;
    held.text = held.text.slice(cut);
    this.#show(session, id, lines);
  }

  #show(session: string, id: StreamId, text: string): void {
    if (text !== '') this.#send(session, id, this.#redact(text));
  }

  #send(session: string, { callKey, stream }: StreamId, text: string): void {
    const watchers = this.#watchers.get(session);
    if (watchers === undefined) return;
    for (let from = 0; from < text.length; ) {
      const to = text.length - from <= MAX_TEXT ? text.length : wholeCharacters(text, from + MAX_TEXT);
      const chunk = { callKey, stream, text: text.slice(from, to) };
      for (const watcher of watchers) watcher(chunk);
      from = to;
    }
  }
}

function streamKey({ callKey, stream }: StreamId): string {
  return `${stream} ${callKey}`;
}

/** A position that does not divide a surrogate pair. */
function wholeCharacters(text: string, at: number): number {
  return text.slice(0, at).isWellFormed() || !text.slice(0, at + 1).isWellFormed() ? at : at - 1;
}
