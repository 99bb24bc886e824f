// A line of the screen before it is painted: runs of text, each in a tone. What is decided on is text, never escape codes.

import { withoutControls } from '../../audit/controls.ts';
import { characters, cutToWidth, displayWidth, wrap } from '../table.ts';

/** What a run of text means; the painter knows how that looks, with colours and without. */
export type Tone = 'plain' | 'dim' | 'bold' | 'good' | 'bad' | 'warn' | 'call' | 'selected';

export interface Span {
  readonly text: string;
  readonly tone: Tone;
}
export type Line = readonly Span[];

export const EMPTY: Line = [];

/** One run. Control characters are taken out here, so that nothing of a session can steer the terminal. */
export function span(text: string, tone: Tone = 'plain'): Span {
  return { text: withoutControls(text).replace(/[\t\n]/g, ' '), tone };
}

/** A line of one run. */
export function styled(text: string, tone: Tone = 'plain'): Line {
  return [span(text, tone)];
}

/** Terminal columns of the line. */
export function lineWidth(line: Line): number {
  return line.reduce((sum, { text }) => sum + displayWidth(text), 0);
}

/** The text alone. */
export function lineText(line: Line): string {
  return line.map(({ text }) => text).join('');
}

/** The line in exactly so many columns: cut with an ellipsis, or filled up with blanks. */
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
    // The ellipsis is due even where this run alone would fit to the column: something follows it.
    const text = partWidth === room ? `${cutToWidth(`${part.text} `, room)}` : cutToWidth(part.text, room);
    cut.push({ text, tone: part.tone });
    used += displayWidth(text);
    break;
  }
  return used < width ? [...cut, { text: ' '.repeat(width - used), tone: 'plain' }] : cut;
}

/** The same line all in one tone, for the row of a cursor. */
export function inTone(line: Line, tone: Tone): Line {
  return line.map(({ text }) => ({ text, tone }));
}

/** Text in lines of at most `width` columns: broken at blanks, and inside of words that are longer than a line. */
export function folded(text: string, width: number): string[] {
  const room = Math.max(1, width);
  return wrap(withoutControls(text).replaceAll('\t', '    '), room).flatMap((line) => split(line, room));
}

/** Text in lines of at most `width` columns, with all its blanks: for what programs print. */
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
