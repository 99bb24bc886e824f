// Names of a release's objects, as the chart's helper makes them.
import { expect, test } from 'vitest';
import { fullName } from './session.ts';

test.each([
  ['tikv', 'tikv'],
  ['my-tikv', 'my-tikv'],
  ['shop', 'shop-tikv'],
])('release %s has objects that begin with %s', (release, name) => {
  expect(fullName(release)).toBe(name);
});
