// The cache: an entry is whole or absent, and is not made twice at the same time.
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cacheDir, cached, cachePath } from './cache.ts';

const previous = process.env.XDG_CACHE_HOME;
beforeEach(async () => {
  process.env.XDG_CACHE_HOME = await mkdtemp(path.join(tmpdir(), 'oplab-cache-'));
});
afterEach(async () => {
  await rm(path.dirname(cacheDir()), { recursive: true });
  if (previous === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = previous;
});

const write = (text: string) => (dir: string) => writeFile(path.join(dir, 'file'), text);

test('what fails half-way leaves nothing behind, and the next try starts anew', async () => {
  const failing = cached({
    name: 'thing',
    key: '1',
    make: async (dir) => {
      await write('half')(dir);
      throw new Error('no');
    },
  });
  await expect(failing).rejects.toThrow('no');
  expect(await readdir(cacheDir())).toEqual([]);
  const dir = await cached({ name: 'thing', key: '1', make: write('whole') });
  expect(await readFile(path.join(dir, 'file'), 'utf8')).toBe('whole');
});

test('an abort while it is made leaves nothing behind', async () => {
  const controller = new AbortController();
  const aborted = cached({
    name: 'thing',
    key: '1',
    signal: controller.signal,
    make: async (dir) => {
      await write('half')(dir);
      controller.abort(new Error('enough'));
    },
  });
  await expect(aborted).rejects.toThrow('enough');
  expect(await readdir(cacheDir())).toEqual([]);
});

test('of two at once, one makes it and the other waits for it', async () => {
  let made = 0;
  const recipe = {
    name: 'thing',
    key: '1',
    make: async (dir: string) => {
      made++;
      await new Promise((resolve) => setTimeout(resolve, 100));
      await write('x')(dir);
    },
  };
  const [one, other] = await Promise.all([cached(recipe), cached(recipe)]);
  expect(one).toBe(other);
  expect(made).toBe(1);
});

test('the lock of a run that died is taken over', async () => {
  await cached({ name: 'other', key: '1', make: write('x') });
  const lock = `${cachePath('thing', '1')}.lock`;
  await writeFile(lock, '1\n');
  const longAgo = new Date(Date.now() - 120_000);
  await utimes(lock, longAgo, longAgo);
  const dir = await cached({ name: 'thing', key: '1', make: write('x') });
  expect(existsSync(dir)).toBe(true);
  expect(existsSync(lock)).toBe(false);
});
