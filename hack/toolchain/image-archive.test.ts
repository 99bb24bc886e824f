// Image archives: real tars with stable digests that other tools can read.
import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { archive, describe, fullName, listEntries, tarHeader, writeLayer } from './image-archive.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'oplab-archive-'));
  await mkdir(path.join(dir, 'tree', 'sub'), { recursive: true });
  await writeFile(path.join(dir, 'tree', 'run.sh'), '#!/bin/sh\n');
  await chmod(path.join(dir, 'tree', 'run.sh'), 0o755);
  await writeFile(path.join(dir, 'tree', 'sub', 'text'), 'x'.repeat(1000));
  await symlink('sub/text', path.join(dir, 'tree', 'link'));
});
afterEach(() => rm(dir, { recursive: true }));

const layer = async (name: string) =>
  writeLayer(await listEntries(path.join(dir, 'tree'), '/opt/thing'), path.join(dir, name));

test('tar reads a layer: paths, modes, links and content', async () => {
  const { file } = await layer('layer.tar');
  const listed = execFileSync('tar', ['-tvf', file, '--numeric-owner'], { encoding: 'utf8' });
  expect(listed).toMatch(/^-rwxr-xr-x 0\/0 .* opt\/thing\/run\.sh$/m);
  expect(listed).toMatch(/^lrwxrwxrwx 0\/0 .* opt\/thing\/link -> sub\/text$/m);
  expect(execFileSync('tar', ['-xOf', file, 'opt/thing/sub/text'], { encoding: 'utf8' })).toBe('x'.repeat(1000));
});

test('equal files give equal layers, another content another one', async () => {
  const first = await layer('one.tar');
  expect((await layer('two.tar')).digest).toBe(first.digest);
  await writeFile(path.join(dir, 'tree', 'sub', 'text'), 'y'.repeat(1000));
  expect((await layer('three.tar')).digest).not.toBe(first.digest);
});

test('a path of more than a hundred bytes is split as ustar does, one that cannot be is refused', async () => {
  const deep = `${'a'.repeat(60)}/${'b'.repeat(60)}/file`;
  await pipeline(
    [tarHeader({ path: deep, mode: 0o644, size: 0, type: '0' }), Buffer.alloc(1024)],
    createWriteStream(path.join(dir, 'deep.tar')),
  );
  expect(execFileSync('tar', ['-tf', path.join(dir, 'deep.tar')], { encoding: 'utf8' }).trim()).toBe(deep);
  expect(() => tarHeader({ path: 'c'.repeat(120), mode: 0, size: 0, type: '0' })).toThrow('does not fit');
});

test('the archive has both layouts, and leaves out the layers that the reader has', async () => {
  const one = await layer('layer.tar');
  const image = { tag: 'oplab.dev/x:dev', layers: [one], config: { Entrypoint: ['/x'] } };
  const file = path.join(dir, 'image.tar');
  await pipeline(archive([image]), createWriteStream(file));
  const read = (name: string): unknown => JSON.parse(execFileSync('tar', ['-xOf', file, name], { encoding: 'utf8' }));
  expect(read('manifest.json')).toMatchObject([
    { RepoTags: ['oplab.dev/x:dev'], Layers: [`blobs/${one.digest.replace(':', '/')}`] },
  ]);
  expect(read('index.json')).toMatchObject({
    manifests: [{ digest: describe(image).digest, annotations: { 'io.containerd.image.name': 'oplab.dev/x:dev' } }],
  });
  const whole = (await readFile(file)).length;
  await pipeline(archive([image], new Set([one.digest])), createWriteStream(file));
  expect((await readFile(file)).length).toBeLessThan(whole - one.size + 1);
});

test('containerd knows an image by its full name', () => {
  expect(fullName('busybox:1')).toBe('docker.io/library/busybox:1');
  expect(fullName('kindest/node:v1')).toBe('docker.io/kindest/node:v1');
  expect(fullName('oplab.dev/x:dev')).toBe('oplab.dev/x:dev');
});
