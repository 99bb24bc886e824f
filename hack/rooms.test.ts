// Every folder has a README of at most ten lines: purpose, allowed imports, where to begin.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.dirname(import.meta.dirname);
const folders = ['src', 'lab', 'test'].flatMap((parent) =>
  readdirSync(path.join(root, parent), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(parent, entry.name)),
);

it.each([...folders, 'lab', 'hack', 'hack/cluster', 'hack/toolchain'])('%s', (folder) => {
  const lines = readFileSync(path.join(root, folder, 'README.md'), 'utf8')
    .trimEnd()
    .split('\n');
  expect(lines.length).toBeLessThanOrEqual(10);
  expect(lines[0]).toMatch(/^# \S/);
  expect(lines.join('\n')).toMatch(/import/i);
});
