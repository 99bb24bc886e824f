// A part of the screen with a title line on top.

import type { Pane } from './state.ts';
import { EMPTY, inWidth, type Line, lineText, lineWidth, span, styled } from './styled-line.ts';

/** `lines` may exceed the available rows. A box without a pane never has the focus. */
export interface Box {
  readonly pane: Pane | undefined;
  readonly title: string;
  readonly lines: readonly Line[];
}

/** Title line and content in exactly `rows` rows. Brackets mark the focus, also without colors. */
export function boxed({ title, lines }: Box, focused: boolean, width: number, rows: number): Line[] {
  const room = Math.max(0, width - 5);
  const text = lineWidth(styled(title)) > room ? lineText(inWidth(styled(title), room)).trimEnd() : title;
  const lead = [span('─', 'dim'), focused ? span(`[${text}]`, 'bold') : span(` ${text} `)];
  const rule = [...lead, span('─'.repeat(Math.max(0, width - lineWidth(lead))), 'dim')];
  return [rule, ...Array.from({ length: Math.max(0, rows - 1) }, (_, row) => inWidth(lines[row] ?? EMPTY, width))];
}

/** Two boxes of equal height, side by side with a line between them. */
export function beside(left: readonly Line[], right: readonly Line[]): Line[] {
  return left.map((line, row) => [...line, span(row === 0 ? '┬' : '│', 'dim'), ...(right[row] ?? EMPTY)]);
}
