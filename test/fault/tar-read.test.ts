// What the docker door reads of an archive is what Go's archive/tar, and so the daemon, reads.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { testGoModule } from '../../hack/toolchain/tools.ts';
import { readTar } from '../../src/gateway/doors/docker/tar-read.ts';
import { random } from '../support/random.ts';
import { pax, type TarParts, tarEntry } from '../support/tar-archive.ts';

const ARCHIVES = 30_000;
const FLAGS = {
  file: '0',
  'hard link': '1',
  link: '2',
  'character device': '3',
  'block device': '4',
  directory: '5',
  fifo: '6',
} as const;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-tar-read-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const next = random(20_261_127);
const below = (count: number) => Math.floor(next() * count);
const pick = <T>(values: readonly [T, ...T[]]): T => values[below(values.length)] ?? values[0];

const NAMES = ['a', 'b/', '../c', '/etc/d', './e', 'é', 'f\0g', '', ' h ', 'i\nj', `${'k'.repeat(99)}l`] as const;
const VALUES = [...NAMES, '0', '12', '-1', '1.5', '1e3', '010', '+7', '0x1', '7\n9 path=z'] as const;
const KEYS = [
  'path',
  'linkpath',
  'size',
  'uid',
  'gid',
  'mtime',
  'atime',
  'uname',
  'comment',
  'GNU.sparse.major',
] as const;
const NUMBERS = [
  '',
  '0',
  '10',
  '000000000000',
  ' 7 ',
  '7 7',
  '8',
  '-1',
  '+1',
  '0x1',
  '1\0\x007',
  '\x00\x007',
  '\x80\x01',
  '\xff',
] as const;
const PLACES = [100, 108, 116, 124, 136, 257, 329, 337, 345, 357, 500, 508] as const;

function records(): string {
  const text = pax(Object.fromEntries(Array.from({ length: 1 + below(2) }, () => [pick(KEYS), pick(VALUES)])));
  return below(6) === 0 ? text.replace(/^\d/, String(below(10))) : text;
}

function parts(): TarParts {
  const flag = pick(['0', '0', '0', '1', '2', '5', 'L', 'K', 'x', 'x', 'g', '\0', '3', '6', '7', 'S', 'V']);
  const content = 'xg'.includes(flag)
    ? records()
    : 'LK'.includes(flag)
      ? pick(NAMES)
      : '02'.includes(flag)
        ? 'text'
        : '';
  return {
    flag,
    name: below(8) === 0 ? Buffer.from([0x61, below(256)]) : pick(NAMES).slice(0, 100),
    content: flag === '2' && below(4) !== 0 ? '' : content,
    target: pick(['', 't', '/u']),
    gnu: 'LK'.includes(flag) || below(3) === 0,
    ...(below(10) === 0 ? { size: below(1200) } : {}),
    numbers: below(4) === 0 ? { [pick(PLACES)]: Buffer.from(pick(NUMBERS), 'latin1').subarray(0, 4) } : {},
  };
}

function archive(): Buffer {
  const entries = Array.from({ length: 1 + below(3) }, () => tarEntry(parts()));
  const bytes = Buffer.concat([
    ...entries,
    Buffer.alloc(512 * below(3)),
    ...(below(12) === 0 ? [tarEntry(parts())] : []),
  ]);
  if (below(12) === 0) bytes[below(bytes.length)] = below(256);
  return below(12) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes;
}

function lines(bytes: Buffer): string[] | undefined {
  try {
    return readTar(bytes).map(({ type, name, target, mode, owner, content }) => {
      const [hexName, hexTarget, hexContent] = [name, target, content].map((part) => part.toString('hex'));
      return `${FLAGS[type]} ${hexName} ${hexTarget} ${mode.toString(8)} ${owner} ${hexContent}`;
    });
  } catch (error) {
    expect(error).toMatchObject({ code: 'OPLAB_INVALID_INPUT' });
    return undefined;
  }
}

const readWithGo = async (archives: readonly { bytes: string; lines: string[] }[]) => {
  const file = path.join(directory, `${crypto.randomUUID()}.json`);
  await writeFile(file, JSON.stringify(archives));
  await testGoModule({
    ...{ name: 'tar', moduleDir: path.join(import.meta.dirname, 'tar'), packages: ['.'], expectedSeconds: 20 },
    env: { OPLAB_ARCHIVES: file },
  });
};

it('of generated archives', async () => {
  const generated = Array.from({ length: ARCHIVES }, archive).map((bytes) => ({ bytes, lines: lines(bytes) }));
  const accepted = generated.flatMap(({ bytes, lines: found }) =>
    found === undefined ? [] : [{ bytes: bytes.toString('hex'), lines: found }],
  );
  // Neither all nor none are refused, and the accepted ones use long names and pax records, too.
  expect(accepted.length).toBeGreaterThan(ARCHIVES / 20);
  expect(accepted.length).toBeLessThan(ARCHIVES / 2);
  expect(new Set(accepted.flatMap(({ lines: found }) => found)).size).toBeGreaterThan(300);
  await readWithGo(accepted);
}, 300_000);

it('and a difference is found', async () => {
  const bytes = tarEntry({ name: 'a' });
  const [line = ''] = lines(bytes) ?? [];
  await readWithGo([{ bytes: bytes.toString('hex'), lines: [line] }]);
  await expect(readWithGo([{ bytes: bytes.toString('hex'), lines: [line.replace('61', '62')] }])).rejects.toThrow(
    'Go reads',
  );
}, 300_000);
