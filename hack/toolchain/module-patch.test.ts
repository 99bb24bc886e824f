// Edits to modules are made exactly once or not at all.
import { expect, test } from 'vitest';
import { applyEdit } from './module-patch.ts';

const edit = { file: 'a.go', reason: 'test', find: 'x := 1', replace: 'x := 2' };

test('an edit replaces its text', () => {
  expect(applyEdit('a\nx := 1\nb', edit)).toBe('a\nx := 2\nb');
});

test('an edit whose text is missing or ambiguous is refused, so that a new version of the module cannot slip by unpatched', () => {
  expect(() => applyEdit('nothing', edit)).toThrow('0 times');
  expect(() => applyEdit('x := 1; x := 1', edit)).toThrow('2 times');
});
