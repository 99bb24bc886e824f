// Every folder has a README of at most ten lines: purpose, allowed imports, where to begin.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { rooms } from './import-rules.ts';

const root = path.dirname(import.meta.dirname);
const code = /\.(ts|go)$/;

/** Every folder with code, and the folders above it. */
function foldersWithCode(parent: string): string[] {
  const entries = readdirSync(path.join(root, parent), { withFileTypes: true });
  const below = entries
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .flatMap((entry) => foldersWithCode(path.join(parent, entry.name)));
  return below.length > 0 || entries.some((entry) => entry.isFile() && code.test(entry.name)) ? [parent, ...below] : [];
}

it.each([...['src', 'lab', 'test'].flatMap(foldersWithCode), 'hack', 'hack/cluster', 'hack/toolchain'])(
  '%s',
  (folder) => {
    const lines = readFileSync(path.join(root, folder, 'README.md'), 'utf8')
      .trimEnd()
      .split('\n');
    expect(lines.length).toBeLessThanOrEqual(10);
    expect(lines[0]).toMatch(/^# \S/);
    expect(lines.join('\n')).toMatch(/import/i);
  },
);

/** What a folder of src/ may import, as its README writes it. */
const inReadme = (name: string) => (name.endsWith('.ts') ? name : `${name}/`);

it.each(Object.entries(rooms))('src/%s: its README names the imports that the rules allow', (folder, { imports }) => {
  const text = readFileSync(path.join(root, 'src', folder, 'README.md'), 'utf8');
  const paragraph = /^May import ([\s\S]*?)(?:\.|;)(?: |\n)/m.exec(text)?.[1] ?? '';
  const named = [...paragraph.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
  const protocols = imports.filter((name) => name.endsWith('/protocol.ts'));
  expect(named.sort()).toEqual(
    imports
      .filter((name) => !protocols.includes(name))
      .map(inReadme)
      .sort(),
  );
  // Written as "the gateway's protocol" or "the protocols of sandbox and gateway".
  const written = protocols.map((name) => name.split('/')[0] ?? '');
  expect(written.filter((name) => !new RegExp(`protocol.*${name}|${name}.*protocol`, 's').test(paragraph))).toEqual([]);
});
