// The patch of an undo, for names that an object of JavaScript has without having been given them.

import { expect, it } from 'vitest';
import { parseObject } from '../../audit/object-view.ts';
import { patchOperations } from './undo-plan.ts';

const NAMES = [...Object.getOwnPropertyNames(Object.prototype), 'length', 'a/b~c'];

it.each(NAMES)('adds, sets and removes a key named %s', (name) => {
  const key = JSON.stringify(name);
  const empty = parseObject('{"data":{"other":"x"}}');
  const [one, two] = ['1', '2'].map((text) => parseObject(`{"data":{"other":"x",${key}:"${text}"}}`));
  const path = `/data/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  expect(patchOperations('', empty, one)).toEqual([{ op: 'add', path, value: '1' }]);
  expect(patchOperations('', one, two)).toEqual([{ op: 'replace', path, value: '2' }]);
  expect(patchOperations('', one, empty)).toEqual([{ op: 'remove', path }]);
});
