// Content keys: what changes them and what does not.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { canonicalJson, contentKey, sourceFiles } from './build-key.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-key-'));
  await mkdir(path.join(dir, 'sub'));
  await writeFile(path.join(dir, 'go.mod'), 'module a');
  await writeFile(path.join(dir, 'sub', 'main.go'), 'package main');
});
afterEach(() => rm(dir, { recursive: true }));

const key = (): string => contentKey({ name: 'a' }, sourceFiles(dir));

test('a changed source, a changed recipe and a moved file change the key', async () => {
  const before = key();
  await writeFile(path.join(dir, 'sub', 'main.go'), 'package main // changed');
  const changed = key();
  expect(changed).not.toBe(before);
  expect(contentKey({ name: 'b' }, sourceFiles(dir))).not.toBe(changed);
  expect(contentKey({}, [{ path: 'x', content: Buffer.from('yz') }])).not.toBe(
    contentKey({}, [{ path: 'xy', content: Buffer.from('z') }]),
  );
});

test('tests do not end up in a binary and do not change the key', async () => {
  const before = key();
  await writeFile(path.join(dir, 'sub', 'main_test.go'), 'package main');
  expect(key()).toBe(before);
});

test('the order in which a recipe is written does not matter, the order of a list does', () => {
  expect(canonicalJson({ b: [1, 2], a: { d: 1, c: 2 } })).toBe('{"a":{"c":2,"d":1},"b":[1,2]}');
  expect(contentKey([1, 2])).not.toBe(contentKey([2, 1]));
});
