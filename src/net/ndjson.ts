// Newline-delimited JSON: parses a stream of values, and formats one.

/** A line is longer than its reader accepts. */
export class LineTooLong extends Error {
  constructor(maxCharacters: number) {
    super(`a line has more than ${maxCharacters} characters`);
  }
}

/**
 * Parses the lines of a body as they arrive. Empty lines are skipped, and a line that the end of
 * the body truncates is dropped.
 * @throws LineTooLong, even before the end of the line; SyntaxError when a line is not JSON
 */
export async function* parseNdjson(
  body: AsyncIterable<Uint8Array>,
  { maxCharacters }: { readonly maxCharacters: number },
): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  // Joined once per line: otherwise each small piece of a long line would copy the whole line.
  let pieces: string[] = [];
  let length = 0;
  for await (const bytes of body) {
    const [first = '', ...others] = decoder.decode(bytes, { stream: true }).split('\n');
    pieces.push(first);
    length += first.length;
    if (length > maxCharacters) throw new LineTooLong(maxCharacters);
    const rest = others.pop();
    if (rest === undefined) continue;
    for (const line of [pieces.join(''), ...others]) {
      if (line.length > maxCharacters) throw new LineTooLong(maxCharacters);
      if (line.trim() !== '') yield JSON.parse(line);
    }
    pieces = [rest];
    length = rest.length;
    if (length > maxCharacters) throw new LineTooLong(maxCharacters);
  }
}

/** One value as a line. */
export function formatNdjson(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
