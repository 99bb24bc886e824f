// Keys as terminals send them, whole and cut in two.

import { expect, it } from 'vitest';
import { parseKeys } from './keys.ts';

it('knows arrows in both modes, pages, tabs and letters', () => {
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

it('keeps a sequence that was cut off until the rest comes', () => {
  const first = parseKeys('k\u001b[');
  expect(first).toEqual({ keys: [{ character: 'k' }], rest: '\u001b[' });
  expect(parseKeys(`${first.rest}B`)).toEqual({ keys: ['down'], rest: '' });
});

it('takes an escape that nothing follows for the key', () => {
  expect(parseKeys('\u001b')).toEqual({ keys: [], rest: '\u001b' });
  expect(parseKeys('\u001b', true)).toEqual({ keys: ['escape'], rest: '' });
});

it('passes over what it does not know: function keys, mouse reports, deletes', () => {
  expect(parseKeys('\u001b[15~\u001b[<0;1;1M\u007f\u0000x').keys).toEqual([{ character: 'x' }]);
});
