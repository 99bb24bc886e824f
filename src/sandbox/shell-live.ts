// The output of a running command: coalesced and rate-limited, so it may be incomplete.

import type { ExecEvent } from './protocol.ts';
import { withoutNul } from './shell-output.ts';

const FLUSH_MS = 100;
/** The maximum per stream and flush, in UTF-16 units; the rest of a burst is skipped. */
const MAX_PER_FLUSH = 8 * 1024;

interface Pending {
  text: string;
  skipped: number;
}

/** Turns pieces of text into `chunk` events at a limited rate. */
export class LiveOutput {
  readonly #emit: (event: ExecEvent) => void;
  readonly #streams: Record<'stdout' | 'stderr', Pending> = {
    stdout: { text: '', skipped: 0 },
    stderr: { text: '', skipped: 0 },
  };
  #timer: NodeJS.Timeout | undefined;

  constructor(emit: (event: ExecEvent) => void) {
    this.#emit = emit;
  }

  push(name: 'stdout' | 'stderr', text: string): void {
    const stream = this.#streams[name];
    // Once something was skipped, what follows would seem to continue what is shown.
    const room = stream.skipped > 0 ? 0 : MAX_PER_FLUSH - stream.text.length;
    const splitsPair = room > 0 && /[\uD800-\uDBFF]/.test(text.charAt(room - 1)) && text.length > room;
    const part = text.slice(0, splitsPair ? room - 1 : room);
    stream.text += part;
    stream.skipped += text.length - part.length;
    this.#timer ??= setTimeout(() => this.end(), FLUSH_MS);
  }

  /** Emits what is left. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const name of ['stdout', 'stderr'] as const) {
      const { text, skipped } = this.#streams[name];
      this.#streams[name] = { text: '', skipped: 0 };
      const gap = skipped > 0 ? `\n[... ${skipped} characters not shown live ...]\n` : '';
      if (text + gap !== '') this.#emit({ type: 'chunk', stream: name, text: withoutNul(text) + gap });
    }
  }
}
