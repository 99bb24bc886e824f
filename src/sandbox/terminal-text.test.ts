// What is left of a stream: what a person would see, whatever its bytes and however they arrive.

import { expect, it } from 'vitest';
import { naiveTerminal } from '../../test/support/naive-terminal.ts';
import { random } from '../../test/support/random.ts';
import { withoutNul } from './shell-output.ts';
import { TerminalText } from './terminal-text.ts';

function render(pieces: readonly Uint8Array[]): { text: string; hidden: number } {
  let text = '';
  const terminal = new TerminalText((piece) => {
    text += piece;
  });
  for (const piece of pieces) terminal.push(piece);
  terminal.end();
  return { text: withoutNul(text), hidden: terminal.hidden };
}

const shown = (text: string) => render([Buffer.from(text)]).text;

it.each([
  ['plain text', 'a\tb\n\n  c ', 'a\tb\n\n  c '],
  ['separators, which some take for line ends', 'a\u2028b\u2029c\u0085d\v\f', 'a\u2028b\u2029c\u0085d\v\f'],
  ['a mark of the byte order, at the beginning too', '\ufeffa\ufeffb', '\ufeffa\ufeffb'],
  ['NUL', 'a\0\0b', 'a\ufffd\ufffdb'],
  ['colors', 'a\u001b[1;31mred\u001b[0m \u001b[38:2::1:2:3mb\u001b[m', 'ared b'],
  ['matches of grep', '\u001b[01;31m\u001b[Kx\u001b[m\u001b[Ky\n', 'xy\n'],
  ['ends of lines of Windows', 'a\r\nb\r\r\nc\r\n', 'a\nb\nc\n'],
  ['a progress bar', ' 10%\r 50%\r100%\ndone', '100%\ndone'],
  ['a longer line below', 'downloading\rdone', 'doneloading'],
  ['a line that was erased', 'downloading\r\u001b[Kdone\n', 'done\n'],
  ['a line that was blanked', 'downloading\r           \rdone', 'done'],
  ['a spinner', '|\b/\b-\b\\\b \bok\n', 'ok\n'],
  ['bold and underlined words of a manual', 'N\bNA\bA _\bx', 'NA x'],
  ['moves within the line', 'abc\u001b[2DX\u001b[1GY\u001b[5Cz', 'YXc   z'],
  ['wide characters that are half overwritten', '日本語\rabc', 'abc 語'],
  ['a tab that is overwritten', 'ab\tc\r123', '123     c'],
  ['marks on characters', 'e\u0301x\b\by', 'yx'],
  ['a title, and a link', '\u001b]0;title\u0007a\u001b]8;;https://x\u001b\\link\u001b]8;;\u001b\\', 'alink'],
  ['a string of the device', 'a\u001bPq#0\u001b\\b', 'ab'],
  ['another screen', 'a\u001b[?1049h\u001b[2J\u001b[Hfile\u001b[?1049lb', 'a\nfile\nb'],
  ['a cleared screen, whose text was seen', 'one\ntwo\u001b[H\u001b[2Jthree', 'one\ntwo\nthree'],
  ['earlier lines, which stay', 'a 1%\nb 1%\n\u001b[2Aa 2%\nb 2%\n', 'a 1%\nb 1%\na 2%\nb 2%\n'],
  ['a column of the screen', 'a\u001b[5;3Hx', 'a\n  x'],
  ['sets of characters, modes', '\u001b(B\u001b[?25la\u001b=\u001b7b', 'ab'],
  ['sequences that end nowhere', 'a\u001b]0;no end\nb\u001b[12', 'a\u001b]0;no end\nb\u001b[12'],
  ['an escape that means nothing', '\u001bq\u001b', '\u001bq\u001b'],
])('shows %s', (_, text, wanted) => {
  expect(shown(text)).toBe(wanted);
  expect(naiveTerminal(Buffer.from(text)).text).toBe(wanted);
});

it('replaces what is not UTF-8: halves of pairs, long forms, single bytes, cut characters', () => {
  const bytes = Buffer.from('61eda080c0af80ff62f09f9880f09f98', 'hex');
  expect(render([bytes]).text).toBe(new TextDecoder().decode(bytes));
  expect(render([bytes]).text).toBe('a\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdb😀\ufffd');
});

/** Bytes that mean something to a terminal or to a decoder, and others. */
const PARTS = [
  ...['\r', '\r\n', '\n', '\b', '\t', '\0', '\u007f', '\u0085', '\u009b', '\u2028', '\u2029', '\ufeff', '\u0301'],
  ...['a', 'bc', ' ', 'ä', '語', '😀', '100%', 'x'.repeat(300), '語'.repeat(200), '😀\u001b'.repeat(9), '[', ']', 'K'],
  ...['\u001b', '\u001b[', '\u001b[0m', '\u001b[K', '\u001b[1K', '\u001b[2K', '\u001b[J', '\u001b[2J', '\u001b[3X'],
  ...[
    '\u001b[2A',
    '\u001b[3C',
    '\u001b[2D',
    '\u001b[9G',
    '\u001b[2000C',
    '\u001b[4;7H',
    '\u001b[?1049h',
    '\u001b[?25l',
  ],
  ...['\u001b]0;t\u0007', '\u001b]8;;u\u001b\\', '\u001bP', '\u001b\\', '\u001bM', '\u001bc', '\u001b(B', '\u001bq'],
].map((text) => Buffer.from(text));
const BROKEN = ['eda080', 'edb080', 'c0af', 'ff', 'f09f98', '80', 'e2'].map((hex) => Buffer.from(hex, 'hex'));

it('shows what the slow way shows, however the bytes arrive', () => {
  for (let seed = 1; seed <= 1500; seed++) {
    const next = random(seed);
    const pick = <T>(all: readonly T[]) => all[Math.floor(next() * all.length)];
    const parts = Array.from({ length: 1 + Math.floor(next() * 40) }, () => pick(next() < 0.1 ? BROKEN : PARTS));
    const bytes = Buffer.concat(parts.filter((part) => part !== undefined));
    const wanted = naiveTerminal(bytes);
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + Math.floor(next() * (seed % 2 === 0 ? 3 : 200));
      pieces.push(bytes.subarray(at, at + size));
      at += size;
    }
    expect([seed, render(pieces)]).toEqual([seed, wanted]);
    expect([seed, render([bytes])]).toEqual([seed, wanted]);
    expect(wanted.text.isWellFormed()).toBe(true);
  }
});

it.each([
  ['zeros', '\0'.repeat(65_536)],
  ['one line without an end', 'x'.repeat(65_536)],
  ['a progress bar for ever', '\r[####      ] 40 %'.repeat(3600)],
  ['marks for ever', `\r${'\u0301'.repeat(30_000)}`],
  ['strings without an end', `\u001b]${'x'.repeat(60_000)}`],
  ['parameters without an end', `\u001b[${'1;'.repeat(30_000)}`],
  ['wide characters that are written back over', '日\b'.repeat(15_000)],
  ['moves far to the right', '\u001b[99999999Cx\r'.repeat(5000)],
])('keeps little of %s', (_, text) => {
  const bytes = Buffer.from(text);
  let emitted = 0;
  const terminal = new TerminalText((piece) => {
    emitted += piece.length;
  });
  const cpu = process.threadCpuUsage().user;
  for (let n = 0; n < 10; n++) terminal.push(bytes);
  // 650 KB; far more than it takes on a busy machine.
  expect((process.threadCpuUsage().user - cpu) / 1e6).toBeLessThan(5);
  const before = emitted;
  terminal.end();
  // What was held back to the end is all that is kept.
  expect(emitted - before).toBeLessThan(10_000);
});
