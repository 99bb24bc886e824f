// The generated files in the checkout are those that the code writes now.

import { expect, it } from 'vitest';
import { stale } from './generate.ts';

it('crds/, schemas/, docs/reference.md and the import rules are up to date; else run `npm run generate`', async () => {
  expect(await stale()).toEqual([]);
});
