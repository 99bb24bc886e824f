// The output of a running command: coalesced and rate-limited, so it may be incomplete.

import type { ExecEvent } from './protocol.ts';

const FLUSH_MS = 100;
/** The maximum per stream and flush; the rest of a burst is skipped. */
const BYTES_PER_FLUSH = 8 * 1024;

interface Pending {
  readonly decoder: InstanceType<typeof TextDecoder>;
  chunks: Buffer[];
  bytes: number;
  skipped: number;
}

const pending = (): Pending => ({ decoder: new TextDecoder('utf-8'), chunks: [], bytes: 0, skipped: 0 });

/** Turns raw chunks into `chunk` events at a limited rate. */
export class LiveOutput {
  readonly #emit: (event: ExecEvent) => void;
  readonly #streams = { stdout: pending(), stderr: pending() };
  #timer: NodeJS.Timeout | undefined;

  constructor(emit: (event: ExecEvent) => void) {
    this.#emit = emit;
  }

  push(name: 'stdout' | 'stderr', chunk: Buffer): void {
    const stream = this.#streams[name];
    const part = chunk.subarray(0, Math.max(0, BYTES_PER_FLUSH - stream.bytes));
    if (part.length > 0) {
      stream.chunks.push(Buffer.from(part));
      stream.bytes += part.length;
    }
    stream.skipped += chunk.length - part.length;
    this.#timer ??= setTimeout(() => this.#flush(false), FLUSH_MS);
  }

  end(): void {
    this.#flush(true);
  }

  #flush(last: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const name of ['stdout', 'stderr'] as const) {
      const stream = this.#streams[name];
      if (stream.bytes === 0 && !last) continue;
      const whole = stream.decoder.decode(Buffer.concat(stream.chunks), { stream: !last && stream.skipped === 0 });
      const gap = stream.skipped > 0 ? `\n[... ${stream.skipped} bytes not shown live ...]\n` : '';
      stream.chunks = [];
      stream.bytes = 0;
      stream.skipped = 0;
      const text = (whole + gap).replaceAll('\0', '\uFFFD');
      if (text !== '') this.#emit({ type: 'chunk', stream: name, text });
    }
  }
}
