// Tools by name: which versions fit, and which build makes which tool.
import { expect, test } from 'vitest';
import { binaryName } from './go-build.ts';
import { goBuilds } from './recipes.ts';
import { findBuild, fits, goBuildKey } from './tools.ts';

test('a tool from PATH is taken only if it is new enough', () => {
  expect(fits('Client Version: v1.34.0', [1, 34])).toBe(true);
  expect(fits('Client Version: v2.0.1', [1, 34])).toBe(true);
  expect(fits('Client Version: v1.32.4-dispatcher', [1, 34])).toBe(false);
  expect(fits('v4.3.1+g123', [3, 18])).toBe(true);
  expect(fits('no version here', [1, 0])).toBe(false);
});

test('a binary has the name that go build gives it', () => {
  expect(binaryName('github.com/containerd/containerd/v2/cmd/ctr')).toBe('ctr');
  expect(binaryName('example.com/thing/v2')).toBe('thing');
  expect(() => binaryName('.')).toThrow('full package path');
});

test('every binary is made by exactly one build, and builds have names of their own', () => {
  const binaries = goBuilds.flatMap((build) => build.packages.map(binaryName));
  expect(new Set(binaries).size).toBe(binaries.length);
  expect(new Set(goBuilds.map((build) => build.name)).size).toBe(goBuilds.length);
  expect(findBuild('kubelet').name).toBe('kube');
  expect(() => findBuild('no-such-tool')).toThrow('no-such-tool');
});

test('the guess of how long a build takes is no part of its key; its flags are', () => {
  const build = findBuild('pd-ctl');
  expect(goBuildKey({ ...build, expectedSeconds: 1 })).toBe(goBuildKey(build));
  expect(goBuildKey({ ...build, ldflags: [] })).not.toBe(goBuildKey(build));
});
