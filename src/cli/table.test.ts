// Tables and wrapped text on a plain terminal of 80 columns.

import { describe, expect, it } from 'vitest';
import { cutToWidth, displayWidth, table, wrap } from './table.ts';

describe('table', () => {
  const header = ['NAME', 'PHASE', 'SUMMARY'];
  const rows = [
    ['store-down', 'Resolved', 'TiKV store 4 is Disconnected'],
    ['x', '', `${'long '.repeat(40)}`],
  ];

  it('aligns columns and shows an empty cell as a dash', () => {
    const lines = table(header, rows, { headers: true });
    expect(lines[0]).toBe('NAME         PHASE      SUMMARY');
    expect(lines[1]).toBe('store-down   Resolved   TiKV store 4 is Disconnected');
    expect(lines[2]?.startsWith('x            -          long long')).toBe(true);
  });

  it('truncates the last column to the width, and nothing without a width', () => {
    for (const line of table(header, rows, { headers: true, width: 80 }))
      expect(displayWidth(line)).toBeLessThanOrEqual(80);
    expect(table(header, rows, { headers: true, width: 80 })[2]).toMatch(/…$/);
    expect(table(header, rows, { headers: true })[2]).not.toMatch(/…$/);
  });

  it('omits the header', () => {
    expect(table(header, rows, { headers: false })).toHaveLength(2);
  });

  it('keeps one row on one line', () => {
    expect(table(['A', 'B'], [['x\ny', 'a\n  b']], { headers: false })).toEqual(['x y   a b']);
  });

  it('aligns wide characters', () => {
    expect(displayWidth('日本🦊a')).toBe(7);
    expect(
      table(
        ['A', 'B'],
        [
          ['日本', 'x'],
          ['abcd', 'y'],
        ],
        { headers: false },
      ),
    ).toEqual(['日本   x', 'abcd   y']);
  });
});

it.each([
  ['a family joined by ZWJ', '👨‍👩‍👧‍👦', 2],
  ['a heart as an emoji', '❤️', 2],
  ['a flag', '🇩🇪', 2],
  ['a letter with a combining mark', 'e\u0301', 1],
  ['colours', '\u001b[31mred\u001b[0m', 3],
  ['an ellipsis', '…', 1],
])('measures %s', (_, text, columns) => {
  expect(displayWidth(text)).toBe(columns);
});

it('never splits a user-perceived character', () => {
  expect(cutToWidth('ab👨‍👩‍👧‍👦cd', 4)).toBe('ab…');
  expect(cutToWidth('ab👨‍👩‍👧‍👦cd', 5)).toBe('ab👨‍👩‍👧‍👦…');
});

it('truncates by columns, not by characters', () => {
  expect(cutToWidth('日本日本', 5)).toBe('日本…');
  expect(cutToWidth('short', 5)).toBe('short');
});

it('wraps at spaces, keeps line breaks and indents, and never breaks a word', () => {
  expect(wrap('one two three four', 9)).toEqual(['one two', 'three', 'four']);
  expect(wrap('a\n  b c', 80)).toEqual(['a', '  b c']);
  expect(wrap('unbreakable-command', 5)).toEqual(['unbreakable-command']);
});
