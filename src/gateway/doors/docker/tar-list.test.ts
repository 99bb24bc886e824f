// The text in the audit log for an archive that is copied into a container.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { listTar } from './tar-list.ts';

it('shows names, sizes and links, and small text files in full', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'oplab-tar-'));
  writeFileSync(path.join(dir, 'a.toml'), 'key = 1\n');
  writeFileSync(path.join(dir, 'binary'), Buffer.from([1, 0, 2]));
  symlinkSync('/etc/passwd', path.join(dir, 'link'));
  const tar = execFileSync('tar', ['-C', dir, '--format=ustar', '-cf', '-', 'a.toml', 'binary', 'link']);
  expect(listTar(tar)).toBe('a.toml 8 bytes\nkey = 1\n\nbinary 3 bytes\nlink (link) -> /etc/passwd 0 bytes');
});

it('stops with a note at a part that it cannot read', () => {
  expect(listTar(Buffer.alloc(2048, 'x'))).toBe('(the rest is not a plain tar archive)');
  expect(listTar(Buffer.alloc(10))).toBe('');
  expect(listTar(Buffer.alloc(1024))).toBe('');
});
