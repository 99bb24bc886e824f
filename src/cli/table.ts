// Tables in kubectl's style: left-aligned columns, separated by three spaces, without lines.

import stringWidth from 'string-width';

/**
 * The number of terminal columns that the text occupies, without its escape codes. Wide East Asian
 * characters and emoji occupy two.
 */
export function displayWidth(text: string): number {
  return PLAIN.test(text) ? text.length : stringWidth(text);
}

/** Printable ASCII: one column each. Most tables are that alone, and need no tables of Unicode. */
const PLAIN = /^[ -~]*$/;

let segmenter: Intl.Segmenter | undefined;

/** User-perceived characters: an emoji with its joiners and variation selectors is one. */
export function characters(text: string): string[] {
  segmenter ??= new Intl.Segmenter();
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}

/** The text truncated to `width` terminal columns, with an ellipsis if something was cut. */
export function cutToWidth(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let result = '';
  let used = 1;
  for (const character of characters(text)) {
    used += displayWidth(character);
    if (used > width) break;
    result += character;
  }
  return `${result.trimEnd()}…`;
}

export interface TableOptions {
  readonly headers: boolean;
  /** The width in terminal columns; the table's last column is truncated to what remains. */
  readonly width?: number | undefined;
}

/** The lines of a table. Empty cells are shown as dashes. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  options: TableOptions,
): string[] {
  const all = (options.headers ? [header, ...rows] : [...rows]).map((row) =>
    row.map((cell) => (cell === '' ? '-' : cell.replace(/\s+/g, ' '))),
  );
  const widths = header.map((_, column) => Math.max(0, ...all.map((row) => displayWidth(row[column] ?? ''))));
  return all.map((row) => {
    const last = row.length - 1;
    const lead = row
      .slice(0, last)
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - displayWidth(cell) + 3));
    const start = lead.join('');
    const end = row[last] ?? '';
    if (options.width === undefined) return start + end;
    return start + cutToWidth(end, Math.max(8, options.width - displayWidth(start)));
  });
}

/** Breaks text at spaces into lines of at most `width` columns, and keeps its own line breaks. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const indent = /^\s*/.exec(paragraph)?.[0] ?? '';
    const lines: string[] = [];
    let line = indent;
    for (const word of paragraph.trim().split(/\s+/)) {
      if (line.trim() !== '' && displayWidth(line) + 1 + displayWidth(word) > width) {
        lines.push(line);
        line = indent + word;
      } else {
        line = line.trim() === '' ? indent + word : `${line} ${word}`;
      }
    }
    return [...lines, line];
  });
}
