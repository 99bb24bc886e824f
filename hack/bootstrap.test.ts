// Every npm script of ours answers --help with examples, and does nothing else then. Packages are
// installed when they are missing or out of date, and only then.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';

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

describe('the packages', () => {
  const entry = (version: string, more: object = {}) => ({ version, integrity: `sha512-${version}`, ...more });
  const lock = { '': {}, 'node_modules/a': entry('1.0.0'), 'node_modules/mac': entry('2.0.0', { optional: true }) };
  const { '': _, 'node_modules/mac': __, ...here } = lock;
  let clone: string;

  const put = (file: string, packages: object) => writeFile(path.join(clone, file), JSON.stringify({ packages }));
  const script = async (file: string, text: string) => {
    await mkdir(path.join(clone, path.dirname(file)), { recursive: true });
    await writeFile(path.join(clone, file), `#!/bin/sh\n${text}\n`);
    await chmod(path.join(clone, file), 0o755);
  };
  /** What bootstrap does in the clone, with an npm that only says so. */
  const bootstrap = () =>
    execFileSync(process.execPath, ['hack/bootstrap.mjs', 'x.ts'], {
      cwd: clone,
      encoding: 'utf8',
      env: { PATH: `${path.join(clone, 'bin')}:${process.env.PATH}` },
    });

  beforeEach(async () => {
    clone = await mkdtemp(path.join(tmpdir(), 'oplab-bootstrap-'));
    await cp(path.join(root, 'hack/bootstrap.mjs'), path.join(clone, 'hack/bootstrap.mjs'));
    await script('bin/npm', 'echo installed');
    await script('node_modules/node/bin/node', 'echo started');
    await put('package-lock.json', lock);
    await put('node_modules/.package-lock.json', here);
  });
  afterEach(() => rm(clone, { recursive: true, force: true }));

  it('are left alone if npm ci has installed them, without those for another platform', () => {
    expect(bootstrap()).toBe('started\n');
  });

  it.each([
    ['a package is missing', {}],
    ['a package has another version', { ...here, 'node_modules/a': entry('1.0.1') }],
    ['a package has another content', { ...here, 'node_modules/a': { ...entry('1.0.0'), integrity: 'sha512-x' } }],
    ['a package of another platform has another version', { ...here, 'node_modules/mac': entry('2.0.1') }],
    ['there is one that nobody asked for', { ...here, 'node_modules/b': entry('1.0.0') }],
  ])('are installed if %s', async (_case, found) => {
    await put('node_modules/.package-lock.json', found);
    expect(bootstrap()).toContain('installed\nstarted\n');
  });

  it('are installed if an installation was interrupted', async () => {
    await rm(path.join(clone, 'node_modules/.package-lock.json'));
    expect(bootstrap()).toContain('installed\nstarted\n');
  });
});
