// Runs the tests beside the Go programs of this checkout.

import { globSync } from 'node:fs';
import { expect, it } from 'vitest';
import { testGoModule } from '../../hack/toolchain/tools.ts';
import { allBuilds } from '../../lab/index.ts';

const tested = allBuilds.filter(({ moduleDir }) => globSync('**/*_test.go', { cwd: moduleDir }).length > 0);

it('are found', () => {
  expect(tested.map(({ name }) => name)).toEqual(expect.arrayContaining(['tikv-standin', 'oplab-load', 'oci-runtime']));
});

it.each(tested)('of $name pass', (build) => testGoModule(build), 300_000);
