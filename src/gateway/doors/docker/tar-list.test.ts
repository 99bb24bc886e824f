// The text in the audit log for an archive that is copied into a container.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { refusal, through } from '../../../../test/support/docker-filter.ts';
import { pax, tarEntry, tarOf } from '../../../../test/support/tar-archive.ts';
import { listTar } from './tar-list.ts';

const refused = (archive: Buffer) => {
  try {
    return `accepted: ${listTar(archive)}`;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'OPLAB_INVALID_INPUT' ? 'refused' : error;
  }
};

it.each(['ustar', 'gnu', 'pax'])('lists what tar writes as %s, and then small text files', (format) => {
  const dir = mkdtempSync(path.join(tmpdir(), 'oplab-tar-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const long = `${'d'.repeat(120)}é`;
  writeFileSync(path.join(dir, 'a.toml'), 'key = 1\n');
  writeFileSync(path.join(dir, 'binary'), Buffer.from([1, 0, 2]));
  symlinkSync('/etc/passwd', path.join(dir, 'link'));
  const names = ['a.toml', 'binary', 'link'];
  const lines = [
    'a.toml 8 bytes, mode 0640, owner 0:7',
    'binary 3 bytes, mode 0640, owner 0:7',
    'link (link) -> /etc/passwd 0 bytes, mode 0640, owner 0:7',
  ];
  if (format !== 'ustar') {
    symlinkSync(`/${long}`, path.join(dir, long));
    names.push(long);
    lines.push(`${long} (link) -> /${long} 0 bytes, mode 0640, owner 0:7`);
  }
  const owned = ['--owner=0', '--group=7', '--mode=0640', `--format=${format}`];
  const tar = execFileSync('tar', ['-C', dir, ...owned, '-cf', '-', ...names]);
  expect(listTar(tar)).toBe(`${lines.length} entries:\n${lines.join('\n')}\n\ncontent of a.toml:\nkey = 1\n`);
});

it('cannot be made to show an entry that is none, or to hide one', () => {
  const forged = tarOf(
    { name: 'a', content: '\n2 entries:\netc/shadow 9 bytes' },
    { name: 'b 1 bytes\nc' },
    { name: 'x -> y' },
    { name: 'caf\u202Etxt' },
    { name: Buffer.from([0x61, 0xff]) },
  );
  const [count, ...lines] = listTar(forged).split('\n\ncontent of')[0]?.split('\n') ?? [];
  expect([count, lines.length]).toEqual(['5 entries:', 5]);
  const names = lines.map((line) => line.replace(/ \d+ bytes, mode 0644, owner 0:0$/, ''));
  expect(names).toEqual(['a', '"b 1 bytes\\nc"', '"x -> y"', '"caf\\u{202e}txt"', '"a\\xff"']);
});

it('shows names, links, owners and attributes of pax records', () => {
  const records = { path: '/etc/cron.d/x', uid: '5', mtime: '1.5', 'SCHILY.xattr.security.capability': '\x01' };
  expect(
    listTar(Buffer.concat([tarEntry({ name: 'x', flag: 'x', content: pax(records) }), tarOf({ name: 'a' })])),
  ).toBe('1 entry:\n/etc/cron.d/x 0 bytes, mode 0644, owner 5:0, SCHILY.xattr.security.capability="\\u0001"');
});

it('says what is wrong with an archive', () => {
  expect(() => listTar(gzipSync(plain))).toThrow(/is compressed.*at byte 0: send an uncompressed/);
  expect(() => listTar(plain.subarray(0, 600))).toThrow('ends within a block');
});

it('shows no bytes that are no text', () => {
  expect(listTar(tarOf({ name: 'a', content: '\xff\xfe' }))).toBe('1 entry:\na 2 bytes, mode 0644, owner 0:0');
});

it('names what it does not show', () => {
  const many = Array.from({ length: 60 }, (_, at) => ({ name: `f${at}`, content: 'x'.repeat(16_000) }));
  const text = listTar(tarOf(...many));
  expect(text).toContain('f59 16000 bytes');
  expect(text.endsWith('\n(further contents are not shown)')).toBe(true);
  const long = Array.from({ length: 30_000 }, (_, at) => ({ name: `${'n'.repeat(80)}${at}` }));
  expect(() => listTar(tarOf(...long))).toThrow('30000 entries');
});

const plain = tarOf({ name: 'a', content: 'text' });
const entry = tarEntry({ name: 'a', content: 'text' });
const long = (flag: string, name: string) => tarEntry({ name: '././@LongLink', flag, content: name, gnu: true });
const record = (records: Record<string, string>, flag = 'x') => tarEntry({ name: 'x', flag, content: pax(records) });

it.each<[string, Buffer]>([
  ['gzip', gzipSync(plain)],
  ['zstd', zstdCompressSync(plain)],
  ['bzip2', Buffer.from('BZh91AY&SY')],
  ['no archive', Buffer.alloc(2048, 'x')],
  ['a part of a block', Buffer.alloc(10)],
  ['a cut header', plain.subarray(0, 500)],
  ['cut contents', plain.subarray(0, 514)],
  ['a second archive after the first', Buffer.concat([plain, plain])],
  ['an entry after one empty block', Buffer.concat([entry, Buffer.alloc(512), entry])],
  ['a wrong checksum', Buffer.from(plain).fill('b', 0, 1)],
  ['an entry in a link', tarEntry({ name: 'a', flag: '2', target: 'x', size: 512, content: entry.toString('latin1') })],
  ['an entry in a directory', tarEntry({ name: 'a/', flag: '5', size: 512 })],
  [
    'a size in binary',
    tarEntry({ name: 'a', numbers: { 124: Buffer.from('80000000000000000000000400', 'hex').subarray(0, 12) } }),
  ],
  ['a size that is no number', tarEntry({ name: 'a', numbers: { 124: Buffer.from('00000000x10 ') } })],
  ['a size with a blank within', tarEntry({ name: 'a', numbers: { 124: Buffer.from('0000 000010 ') } })],
  ['a sparse file', tarEntry({ name: 'a', flag: 'S', gnu: true })],
  ['a sparse file in pax', Buffer.concat([record({ 'GNU.sparse.major': '1' }), entry])],
  ['a size in pax', Buffer.concat([record({ size: '1024' }), entry])],
  ['a global name', Buffer.concat([record({ path: 'etc/passwd' }, 'g'), entry])],
  ['two names of one entry', Buffer.concat([long('L', 'x'), record({ path: 'y' }), entry])],
  ['two long names', Buffer.concat([long('L', 'x'), long('L', 'y'), entry])],
  ['two blocks of records', Buffer.concat([record({ path: 'x' }), record({ path: 'y' }), entry])],
  ['an empty long name', Buffer.concat([long('L', '\0y'), entry])],
  ['a name for nothing', Buffer.concat([entry, long('L', 'x')])],
  ['a name in the fields of old GNU', tarEntry({ name: 'a', gnu: true, numbers: { 345: Buffer.from('etc') } })],
  ['the format star', tarEntry({ name: 'a', numbers: { 508: Buffer.from('tar\0') } })],
  ['the format v7', tarEntry({ name: 'a', numbers: { 257: Buffer.alloc(8) } })],
  ['a file named as a directory', tarEntry({ name: 'a/', flag: '0' })],
  ['a continued volume', tarEntry({ name: 'a', flag: 'M' })],
  ['a record without an end', tarEntry({ name: 'x', flag: 'x', content: '99 path=y\n' })],
  ['a record twice', Buffer.concat([tarEntry({ name: 'x', flag: 'x', content: '9 path=y\n9 path=z\n' }), entry])],
])('refuses %s', (_, archive) => {
  expect(refused(archive)).toBe('refused');
});

it('reads an archive without an end mark, and an empty one', () => {
  expect(listTar(entry)).toContain('1 entry:\na 4 bytes');
  expect(listTar(Buffer.alloc(0))).toBe('0 entries:');
  expect(listTar(Buffer.alloc(1024))).toBe('0 entries:');
});

it('decides on docker cp', async () => {
  const put = (body: Buffer) => through('PUT', '/containers/tikv0/archive?path=/', body.toString('latin1'));
  expect((await put(plain)).shown).toContain('1 entry:\na 4 bytes');
  await expect(put(gzipSync(plain))).rejects.toEqual(refusal('INVALID_INPUT'));
});
