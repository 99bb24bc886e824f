// The generated files of the checkout are those that the code would write now.

import { expect, it } from 'vitest';
import { stale } from './generate.ts';

it('crds/, schemas/, docs/reference.md and the import rules are up to date; else run `npm run generate`', async () => {
  expect(await stale()).toEqual([]);
});
