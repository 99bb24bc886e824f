// Keeps the head and the tail of a stream, in bounded memory whatever the length of the stream.

/**
 * Removes an incomplete UTF-8 sequence from the end, which would become a replacement character.
 */
function trimEnd(bytes: Buffer): Buffer {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return needed > back ? bytes.subarray(0, bytes.length - back) : bytes;
    }
  }
  return bytes;
}

/** Removes continuation bytes whose first byte is missing from the beginning. */
function trimStart(bytes: Buffer): Buffer {
  let start = 0;
  while (start < 3 && start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  return bytes.subarray(start);
}

/** NUL, which some readers of JSON refuse, becomes the replacement character. */
export function withoutNul(text: string): string {
  return text.replaceAll('\0', '\uFFFD');
}

const decodeText = (bytes: Buffer) => withoutNul(bytes.toString('utf8'));

/** Keeps the first and the last bytes pushed into it. */
export class OutputWindow {
  readonly #headLimit: number;
  readonly #tailLimit: number;
  #head: Buffer[] = [];
  #headBytes = 0;
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #total = 0;

  /** Both limits are in bytes. */
  constructor(headLimit: number, tailLimit: number) {
    this.#headLimit = headLimit;
    this.#tailLimit = tailLimit;
  }

  push(chunk: Buffer): void {
    this.#total += chunk.length;
    const room = this.#headLimit - this.#headBytes;
    if (room > 0) {
      const part = chunk.subarray(0, room);
      this.#head.push(Buffer.from(part));
      this.#headBytes += part.length;
    }
    const rest = chunk.subarray(Math.max(0, room));
    if (rest.length === 0) return;
    const kept = Buffer.from(rest.subarray(Math.max(0, rest.length - this.#tailLimit)));
    this.#tail.push(kept);
    this.#tailBytes += kept.length;
    // Compact only occasionally, so that many small writes do not take quadratic time.
    if (this.#tailBytes > 2 * this.#tailLimit || this.#tail.length > 256) {
      const joined = Buffer.concat(this.#tail);
      this.#tail = [Buffer.from(joined.subarray(Math.max(0, joined.length - this.#tailLimit)))];
      this.#tailBytes = Math.min(joined.length, this.#tailLimit);
    }
  }

  /** The number of bytes that are in neither head nor tail. */
  get leftOut(): number {
    return Math.max(0, this.#total - this.#headLimit - this.#tailLimit);
  }

  /** The kept text, with a line that says how many bytes are omitted, if any. */
  text(): string {
    const head = Buffer.concat(this.#head);
    const joined = Buffer.concat(this.#tail);
    const tail = joined.subarray(Math.max(0, joined.length - this.#tailLimit));
    if (this.leftOut === 0) return decodeText(Buffer.concat([head, tail]));
    const shownHead = trimEnd(head);
    const shownTail = trimStart(tail);
    const missing = this.#total - shownHead.length - shownTail.length;
    return `${decodeText(shownHead)}\n[... ${missing} bytes omitted ...]\n${decodeText(shownTail)}`;
  }
}
