// A line of the screen before painting: runs of text, each with a tone, without escape codes.

import { withoutControls } from '../../audit/controls.ts';
import { characters, cutToWidth, displayWidth, wrap } from '../table.ts';

/** The meaning of a run of text. The painter maps it to a color, if colors are used. */
export type Tone = 'plain' | 'dim' | 'bold' | 'good' | 'bad' | 'warn' | 'call' | 'selected';

export interface Span {
  readonly text: string;
  readonly tone: Tone;
}
export type Line = readonly Span[];

export const EMPTY: Line = [];

/** One run. Control characters are removed, so that session output cannot control the terminal. */
export function span(text: string, tone: Tone = 'plain'): Span {
  return { text: withoutControls(text).replace(/[\t\n]/g, ' '), tone };
}

/** A line of one run. */
export function styled(text: string, tone: Tone = 'plain'): Line {
  return [span(text, tone)];
}

/** The number of terminal columns of the line. */
export function lineWidth(line: Line): number {
  return line.reduce((sum, { text }) => sum + displayWidth(text), 0);
}

/** The line's text without tones. */
export function lineText(line: Line): string {
  return line.map(({ text }) => text).join('');
}

/** The line in exactly `width` columns: truncated with an ellipsis, or padded with spaces. */
export function inWidth(line: Line, width: number): Line {
  if (width <= 0) return EMPTY;
  const cut: Span[] = [];
  let used = 0;
  const whole = lineWidth(line) <= width;
  for (const part of line) {
    const room = width - used;
    const partWidth = displayWidth(part.text);
    if (whole || partWidth < room) {
      cut.push(part);
      used += partWidth;
      continue;
    }
    // Even if this run fits exactly, it needs an ellipsis, because more text follows.
    const text = partWidth === room ? `${cutToWidth(`${part.text} `, room)}` : cutToWidth(part.text, room);
    cut.push({ text, tone: part.tone });
    used += displayWidth(text);
    break;
  }
  return used < width ? [...cut, { text: ' '.repeat(width - used), tone: 'plain' }] : cut;
}

/** The same line in a single tone, for the selected row. */
export function inTone(line: Line, tone: Tone): Line {
  return line.map(({ text }) => ({ text, tone }));
}

/**
 * Text in lines of at most `width` columns, broken at spaces, or within words longer than a line.
 */
export function folded(text: string, width: number): string[] {
  const room = Math.max(1, width);
  return wrap(withoutControls(text).replaceAll('\t', '    '), room).flatMap((line) => split(line, room));
}

/** Text in lines of at most `width` columns, keeping all spaces; for program output. */
export function chopped(text: string, width: number): string[] {
  return split(withoutControls(text).replaceAll('\t', '    '), Math.max(1, width));
}

function split(text: string, width: number): string[] {
  if (displayWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = '';
  let used = 0;
  for (const character of characters(text)) {
    const columns = displayWidth(character);
    if (used + columns > width && line !== '') {
      lines.push(line);
      line = '';
      used = 0;
    }
    line += character;
    used += columns;
  }
  return [...lines, line];
}
