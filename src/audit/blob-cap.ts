// The cap on stored text: keeps the head and tail, and a line that says how much was left out.

/**
 * The default cap on a blob in bytes: 4 MiB. The kube door refuses bodies of more than 1 MiB, and
 * placeholders make a text at most 3.9 times as long, so a body is always recorded whole.
 */
export const DEFAULT_BLOB_CAP_BYTES = 4 * 1024 * 1024;

/** The last character boundary at or before `at` in UTF-8 bytes. */
function boundaryBefore(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return end;
}

/** The first character boundary at or after `at` in UTF-8 bytes. */
function boundaryAfter(bytes: Uint8Array, at: number): number {
  let start = at;
  while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return start;
}

/**
 * Returns the head and tail of a text longer than `cap` bytes, and a shorter text unchanged.
 * `leftOut` is the number of bytes that are missing.
 */
export function capBlob(text: string, cap: number, leftOutBefore = 0): { bytes: Uint8Array; leftOut: number } {
  const bytes = Buffer.from(text);
  if (bytes.length <= cap && leftOutBefore === 0) return { bytes, leftOut: 0 };
  const half = Math.min(Math.floor(cap / 2), Math.floor(bytes.length / 2));
  const headEnd = boundaryBefore(bytes, half);
  const tailStart = boundaryAfter(bytes, bytes.length - half);
  const leftOut = tailStart - headEnd + leftOutBefore;
  const line = Buffer.from(`\n[oplab: ${leftOut} bytes are left out here]\n`);
  return { bytes: Buffer.concat([bytes.subarray(0, headEnd), line, bytes.subarray(tailStart)]), leftOut };
}

/**
 * Shortens a huge text before it is redacted, so that one entry cannot stall the log. The windows
 * are wider than the parts that `capBlob` keeps, so a secret cut by a window's edge is never kept.
 */
export function outerWindows(text: string, cap: number): { text: string; leftOut: number } {
  const margin = 64 * 1024;
  const window = Math.ceil(cap / 2) + margin;
  if (text.length <= 2 * window + margin) return { text, leftOut: 0 };
  const middle = text.slice(window, -window);
  return { text: text.slice(0, window) + text.slice(-window), leftOut: Buffer.byteLength(middle) };
}
