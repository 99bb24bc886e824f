// Every npm script of ours answers --help with examples, and does nothing else then.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';

const root = path.dirname(import.meta.dirname);
const { scripts } = z
  .object({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')));
const ours = Object.entries(scripts).filter(([, line]) => line.startsWith('node hack/bootstrap.mjs '));

it('knows the scripts', () => {
  expect(ours.map(([name]) => name)).toEqual(
    expect.arrayContaining(['demo', 'test', 'build', 'clean', 'cluster:down']),
  );
});

it.each(ours)('npm run %s -- --help', (name, line) => {
  const [, ...args] = line.split(' ');
  // Were the program started instead, it would be this test's time limit that ends it.
  const help = execFileSync(process.execPath, [...args, '--help'], { cwd: root, encoding: 'utf8', timeout: 10_000 });
  expect(help).toMatch(/^\S.{20,}/);
  expect(help).toContain(`\nExamples:\n`);
  expect(help).toContain(name === 'test' ? 'npm test' : `npm run ${name}`);
});
