// All builds of the checkout together: no two make the same program.
import { expect, test } from 'vitest';
import { binaryName } from '../../hack/toolchain/go-build.ts';
import { findBuild } from '../../hack/toolchain/tools.ts';
import { allBuilds, patientBuilds } from './builds.ts';

test('every binary is made by exactly one build, and every build has a name of its own', () => {
  const binaries = allBuilds.flatMap((build) => build.packages.map(binaryName));
  expect(new Set(binaries).size).toBe(binaries.length);
  expect(new Set(allBuilds.map((build) => build.name)).size).toBe(allBuilds.length);
});

test('the patient’s programs are found among its own builds, and not among those of the toolchain', () => {
  expect(findBuild('pd-server', patientBuilds).name).toBe('pd');
  expect(() => findBuild('pd-server')).toThrow('no Go build makes "pd-server"');
});
