// Turns lines into terminal output: with colors if wanted, in ASCII if the locale is not UTF-8.

import * as z from 'zod';
import { parseEnvironment } from '../../environment.ts';
import type { Colors } from '../output.ts';
import type { Line, Tone } from './styled-line.ts';

/** What the terminal can display. */
export interface Painter {
  readonly colors: Colors;
  /** False in a locale that is not UTF-8; glyphs are then replaced by ASCII of the same width. */
  readonly unicode: boolean;
}

const ASCII: Readonly<Record<string, string>> = {
  '─': '-',
  '│': '|',
  '┬': '+',
  '┴': '+',
  '┼': '+',
  '├': '+',
  '┤': '+',
  '…': '~',
  '✓': '+',
  '✗': 'x',
  '●': '*',
  '○': 'o',
  '◐': '%',
  '·': '-',
  '▲': '^',
  '▼': 'v',
  '↑': '^',
  '↓': 'v',
  '→': '>',
  '–': '-',
};

/** One row of the screen. */
export function paintLine(line: Line, { colors, unicode }: Painter): string {
  const paint: Record<Tone, (text: string) => string> = {
    plain: (text) => text,
    dim: colors.dim,
    bold: colors.bold,
    good: colors.green,
    bad: colors.red,
    warn: colors.yellow,
    call: colors.cyan,
    selected: colors.inverse,
  };
  return line.map(({ text, tone }) => (text === '' ? '' : paint[tone](unicode ? text : toAscii(text)))).join('');
}

function toAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/gu, (character) => ASCII[character] ?? '?');
}

/** Whether the locale's character set is UTF-8, with the variables' precedence in POSIX. */
export function isUtf8(environment?: NodeJS.ProcessEnv): boolean {
  const { LC_ALL, LC_CTYPE, LANG } = parseEnvironment(locale, environment);
  return /utf-?8/i.test(LC_ALL ?? LC_CTYPE ?? LANG ?? '');
}

const locale = z.object({
  LC_ALL: z.string().optional(),
  LC_CTYPE: z.string().optional(),
  LANG: z.string().optional(),
});
