// Key sequences as terminals send them, complete and split in two.

import { expect, it } from 'vitest';
import { parseKeys } from './keys.ts';

it('parses arrows in both modes, pages, tabs and letters', () => {
  expect(parseKeys('\u001b[A\u001bOBjq\t\u001b[Z\u001b[5~\r\u0003').keys).toEqual([
    'up',
    'down',
    { character: 'j' },
    { character: 'q' },
    'tab',
    'back-tab',
    'page-up',
    'enter',
    'interrupt',
  ]);
});

it('keeps an incomplete sequence until the rest arrives', () => {
  const first = parseKeys('k\u001b[');
  expect(first).toEqual({ keys: [{ character: 'k' }], rest: '\u001b[' });
  expect(parseKeys(`${first.rest}B`)).toEqual({ keys: ['down'], rest: '' });
});

it('parses an escape that nothing follows as the escape key', () => {
  expect(parseKeys('\u001b')).toEqual({ keys: [], rest: '\u001b' });
  expect(parseKeys('\u001b', true)).toEqual({ keys: ['escape'], rest: '' });
});

it('ignores unknown input: function keys, mouse reports, deletes', () => {
  expect(parseKeys('\u001b[15~\u001b[<0;1;1M\u007f\u0000x').keys).toEqual([{ character: 'x' }]);
});
