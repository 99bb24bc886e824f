// Reads and writes DER, the encoding of certificates: as much of it as re-issuing one needs.

/** One element: its tag, its content, and all of it. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  readonly whole: Buffer;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** The tag of `[n] EXPLICIT` or of a constructed `[n] IMPLICIT`. */
export const contextTag = (number: number): number => 0xa0 | number;

/** The elements that follow one another in the bytes. @throws Error if they are not DER */
export function readDer(bytes: Buffer): DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.readUInt8(at);
    const first = bytes.readUInt8(at + 1);
    // 0x80 and more: the number of bytes that the length takes. Four are 4 GiB.
    const size = first < 0x80 ? 0 : first & 0x7f;
    if (first === 0x80 || size > 4) throw new Error(`not DER: a length of ${size} bytes`);
    const begin = at + 2 + size;
    const end = begin + (size === 0 ? first : bytes.readUIntBE(at + 2, size));
    if (end > bytes.length) throw new Error('not DER: an element is longer than its surroundings');
    elements.push({ tag, content: bytes.subarray(begin, end), whole: bytes.subarray(at, end) });
    at = end;
  }
  return elements;
}

/** An element with this content. */
export function writeDer(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), bytes]);
  const size = length < 0x100 ? 1 : length < 0x10000 ? 2 : 3;
  const head = Buffer.alloc(2 + size);
  head.writeUInt8(tag, 0);
  head.writeUInt8(0x80 | size, 1);
  head.writeUIntBE(length, 2, size);
  return Buffer.concat([head, bytes]);
}
