import { randomBytes } from 'node:crypto';
import {
  appendFile,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { Conversations, MAX_CONVERSATION_BYTES, RECORD_BYTES } from './conversations.ts';

const secret = randomBytes(32);
const one = { session: 'aaaa-1', attempt: 1 };
const other = { session: 'bbbb-2', attempt: 1 };
let directory: string;
let closed: Set<string>;
let kept: Conversations;

const build = (own = secret) =>
  new Conversations({ directory, secret: own, isOpen: ({ session }) => !closed.has(session), logger: silentLogger() });
const record = (index: number, text: string, { run = 'r1', isWhole = false } = {}) => ({
  ...{ run, index, isWhole },
  body: Buffer.from(text),
});
const read = async (from = kept, id = one, run = 'r1') => (await from.read(id, run)).map(String);

beforeEach(async () => {
  directory = path.join(await mkdtemp(path.join(tmpdir(), 'oplab-conversations-')), 'conversations');
  closed = new Set();
  kept = build();
  await kept.start();
});
afterEach(() => rm(path.dirname(directory), { recursive: true, force: true }));

describe('a conversation', () => {
  it('comes back as it was kept, also from another gateway, and goes on there', async () => {
    for (const [index, text] of ['first', '{"signature":"a\\nb"}', ''].entries())
      await kept.append(one, record(index, text));
    expect(await read()).toEqual(['first', '{"signature":"a\\nb"}', '']);
    const next = build();
    await next.start();
    await next.append(one, record(3, 'fourth'));
    expect(await read(next)).toEqual(['first', '{"signature":"a\\nb"}', '', 'fourth']);
    expect(await read(next, other)).toEqual([]);
  });

  it('is on disk for its owner alone, and unreadable there', async () => {
    await kept.append(one, record(0, 'the password is hunter2'));
    await kept.append(one, record(1, 'the password is hunter2'));
    const file = path.join(directory, 'aaaa-1.1');
    expect((await readFile(file)).includes('hunter2')).toBe(false);
    expect((await readFile(file)).includes(secret)).toBe(false);
    expect((await stat(file)).mode & 0o077).toBe(0);
    expect(await read(build(randomBytes(32)))).toEqual([]);
  });

  it('cannot be given to another session, nor can its records change places', async () => {
    await kept.append(one, record(0, 'mine'));
    await copyFile(path.join(directory, 'aaaa-1.1'), path.join(directory, 'bbbb-2.1'));
    expect(await read(build(), other)).toEqual([]);
    await kept.append(one, record(1, 'same size'));
    await kept.append(one, record(2, 'SAME SIZE'));
    const file = path.join(directory, 'aaaa-1.1');
    const content = await readFile(file);
    const frame = 4 + 12 + 'same size'.length + 16;
    const swapped = Buffer.concat([
      content.subarray(0, -2 * frame),
      content.subarray(-frame),
      content.subarray(-2 * frame, -frame),
    ]);
    await writeFile(file, swapped);
    expect(await read(build())).toEqual(['mine']);
  });

  it('takes a record that is sent again once, and no other at a wrong place', async () => {
    await kept.append(one, record(0, 'a'));
    await kept.append(one, record(0, 'a'));
    await kept.append(one, record(1, 'a'));
    await kept.append(one, record(1, 'a'));
    expect(await read()).toEqual(['a', 'a']);
    for (const index of [0, 1, 3]) {
      await expect(kept.append(one, record(index, 'b'))).rejects.toMatchObject({ code: 'OPLAB_NOT_ALLOWED' });
    }
    const next = build();
    await next.append(one, record(1, 'a'));
    expect(await read(next)).toEqual(['a', 'a']);
  });

  it('belongs to the latest process: what one before it still sends is refused', async () => {
    await kept.append(one, record(0, 'a'));
    await kept.begin(one, 'r2');
    await expect(kept.append(one, record(1, 'late'))).rejects.toMatchObject({ code: 'OPLAB_NOT_ALLOWED' });
    await expect(kept.read(one, 'r1')).rejects.toMatchObject({ code: 'OPLAB_NOT_ALLOWED' });
    expect(await read(kept, one, 'r2')).toEqual(['a']);
  });

  it('loses only what was not acknowledged when the gateway dies while it writes', async () => {
    await kept.append(one, record(0, 'whole'));
    const file = path.join(directory, 'aaaa-1.1');
    const { size } = await stat(file);
    await kept.append(one, record(1, 'x'.repeat(100)));
    const full = await readFile(file);
    for (let cut = size; cut < full.length; cut += 7) {
      await writeFile(file, full.subarray(0, cut));
      const next = build();
      expect(await read(next)).toEqual(['whole']);
      await next.append(one, record(1, 'again'));
      expect(await read(build())).toEqual(['whole', 'again']);
    }
    await appendFile(file, Buffer.from([0xff, 0xff, 0xff, 0xff]));
    expect(await read(build())).toEqual(['whole', 'again']);
    await truncate(file, 3);
    expect(await read(build())).toEqual([]);
    await expect(readdir(directory)).resolves.toEqual([]);
  });

  it('is replaced as a whole', async () => {
    await kept.append(one, record(0, 'a'));
    await kept.append(one, record(1, 'b'));
    await kept.append(one, record(0, 'ab', { isWhole: true }));
    await kept.append(one, record(0, 'ab', { isWhole: true }));
    await kept.append(one, record(1, 'c'));
    expect(await read(build())).toEqual(['ab', 'c']);
  });

  it('has a most; one that is too long as a whole is not kept at all', async () => {
    const half = 'x'.repeat(MAX_CONVERSATION_BYTES / 2 - RECORD_BYTES);
    await kept.append(one, record(0, half));
    await kept.append(one, record(1, half));
    await expect(kept.append(one, record(2, 'y'))).rejects.toMatchObject({ code: 'OPLAB_TOO_LARGE' });
    expect(await read()).toHaveLength(2);
    const tooLong = record(0, 'x'.repeat(MAX_CONVERSATION_BYTES), { isWhole: true });
    await expect(kept.append(one, tooLong)).rejects.toMatchObject({ code: 'OPLAB_TOO_LARGE' });
    expect(await read()).toEqual([]);
  });

  it('counts what a record takes on the volume, so that many empty ones are not free', async () => {
    await kept.append(one, record(0, 'x'.repeat(MAX_CONVERSATION_BYTES - 3 * RECORD_BYTES)));
    await kept.append(one, record(1, ''));
    await kept.append(one, record(2, ''));
    await expect(kept.append(one, record(3, ''))).rejects.toMatchObject({ code: 'OPLAB_TOO_LARGE' });
    await expect(build().append(one, record(3, ''))).rejects.toMatchObject({ code: 'OPLAB_TOO_LARGE' });
    expect((await stat(path.join(directory, 'aaaa-1.1'))).size).toBeLessThan(MAX_CONVERSATION_BYTES + 200);
  });
});

describe('is deleted with its key', () => {
  it('when its attempt has ended or its session is closed', async () => {
    await kept.append(one, record(0, 'a'));
    await kept.append(other, record(0, 'b'));
    closed.add(one.session);
    await kept.dropEnded();
    expect(await readdir(directory)).toEqual(['bbbb-2.1']);
    await kept.drop(other.session);
    expect(await readdir(directory)).toEqual([]);
  });

  it('by the next gateway, if its attempt ended in between, with the leftovers of a write', async () => {
    await kept.append(one, record(0, 'a'));
    await writeFile(path.join(directory, 'aaaa-1.1.new'), 'torn');
    closed.add(one.session);
    await build().start();
    expect(await readdir(directory)).toEqual([]);
  });

  it('when it is replaced as a whole', async () => {
    await kept.append(one, record(0, 'a secret that was trimmed'));
    const before = await open(path.join(directory, 'aaaa-1.1'));
    try {
      await kept.append(one, record(0, 'the rest', { isWhole: true }));
      expect((await before.readFile()).subarray(0, 60)).toEqual(Buffer.alloc(60));
    } finally {
      await before.close();
    }
    expect(await read()).toEqual(['the rest']);
  });

  it('with what a write has left that failed', async () => {
    await kept.append(one, record(0, 'a'));
    const file = path.join(directory, 'aaaa-1.1');
    await rm(file);
    await mkdir(path.join(file, 'in the way'), { recursive: true });
    const whole = record(0, 'ab', { isWhole: true });
    await expect(kept.append(one, whole)).rejects.toMatchObject({ code: 'OPLAB_AUDIT_UNAVAILABLE' });
    expect(await readdir(directory)).toEqual(['aaaa-1.1']);
    await rm(file, { recursive: true });
    await writeFile(`${file}.new`, 'torn');
    await kept.drop(one.session);
    expect(await readdir(directory)).toEqual([]);
  });

  it('and nothing else that is in the folder keeps a gateway from starting', async () => {
    await mkdir(path.join(directory, 'lost+found'));
    await kept.append(one, record(0, 'a'));
    const next = build();
    await next.start();
    expect(await read(next)).toEqual(['a']);
  });

  it('when it comes after the end', async () => {
    closed.add(one.session);
    await kept.append(one, record(0, 'a'));
    expect(await readdir(directory)).toEqual([]);
  });
});
