// What `npm run clean` may remove.
import { expect, test } from 'vitest';
import { ourImages } from './clean.ts';

test('only images under our own name are ours', () => {
  const listed =
    'oplab.dev/kind-node:abc\nkindest/node:v1.37.0\noplab.dev/load:dev\nmy/oplab.dev:1\noplab.dev/x:<none>\n';
  expect(ourImages(listed)).toEqual(['oplab.dev/kind-node:abc', 'oplab.dev/load:dev']);
});
