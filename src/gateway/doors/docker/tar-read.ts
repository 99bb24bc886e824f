// Reads an archive that is copied into a container, as Go's archive/tar in the daemon does. Pure.
//
// The record shows what this file reads, so it accepts only what cannot be read in two ways, and
// refuses the rest: compressed archives, sparse files, entries after the end, sizes where others
// see none.

import { InvalidInput } from '../../../errors.ts';
import { readPax } from './tar-pax.ts';

const BLOCK = 512;
/** The maximum size of a long name or of pax records, in bytes, as in Go. */
const MAX_EXTENSION = 1024 * 1024;
const REMEDY = 'send an uncompressed archive, as docker cp and tar --format=pax write it';

export type TarType = 'file' | 'hard link' | 'link' | 'character device' | 'block device' | 'directory' | 'fifo';
const TYPES: ReadonlyMap<string, TarType> = new Map([
  ['\0', 'file'],
  ['0', 'file'],
  ['1', 'hard link'],
  ['2', 'link'],
  ['3', 'character device'],
  ['4', 'block device'],
  ['5', 'directory'],
  ['6', 'fifo'],
]);

export interface TarEntry {
  readonly type: TarType;
  readonly name: Buffer;
  /** The target of a link. */
  readonly target: Buffer;
  readonly mode: number;
  readonly owner: string;
  /** The pax records that do not only repeat what is above, such as extended attributes. */
  readonly records: ReadonlyMap<string, Buffer>;
  readonly content: Buffer;
}

/** What headers before an entry say about it. */
interface Extension {
  path?: Buffer;
  linkpath?: Buffer;
  records?: ReadonlyMap<string, Buffer>;
}

/** @throws InvalidInput if the daemon could read the archive in another way */
export function readTar(archive: Buffer): readonly TarEntry[] {
  const entries: TarEntry[] = [];
  let extension: Extension = {};
  let at = 0;
  const refuse = (why: string): never => {
    throw new InvalidInput(`the archive ${why}, at byte ${at}: ${REMEDY}`);
  };
  while (at < archive.length) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.length === BLOCK && isZero(header)) break;
    const format = requireHeader(header, refuse);
    const flag = String.fromCharCode(header[156] ?? 0);
    const size = octal(header, 124, 12, refuse);
    const content = archive.subarray(at + BLOCK, at + BLOCK + size);
    if (content.length < size) refuse('ends within a file');
    const isPending = Object.keys(extension).length > 0;
    if ('LKx'.includes(flag)) {
      if (size > MAX_EXTENSION) refuse('has a longer name than the daemon reads');
      extension = extend(extension, flag, content, refuse);
    } else if (flag === 'g') {
      // Go ignores these. Other programs apply them to all entries that follow.
      const records = readPax(content, refuse);
      if (isPending || records.size !== 1 || !records.has('comment')) refuse('has global pax records');
    } else {
      const type = TYPES.get(flag) ?? refuse(`has an entry of type ${JSON.stringify(flag)}, which is not allowed`);
      if (type !== 'file' && size !== 0) refuse(`has a ${type} with a size, which is not allowed`);
      entries.push(readEntry({ header, format, type, content, extension }, refuse));
      extension = {};
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  if (Object.keys(extension).length > 0) refuse('ends with a name without an entry');
  if (archive.length % BLOCK !== 0) refuse('ends within a block');
  if (!isZero(archive.subarray(at))) refuse('goes on after its end');
  return entries;
}

type Format = 'ustar' | 'gnu';
type Refuse = (why: string) => never;

function requireHeader(header: Buffer, refuse: Refuse): Format {
  if (header.length < BLOCK) refuse('is compressed, or ends within a header');
  const magic = header.subarray(257, 265).toString('latin1');
  const isStar = header.subarray(508, 512).toString('latin1') === 'tar\0';
  const format = magic === 'ustar\x0000' && !isStar ? 'ustar' : magic === 'ustar  \0' ? 'gnu' : undefined;
  if (format === undefined) return refuse('is compressed, or no tar archive that the docker door reads');
  let sum = 8 * 0x20;
  for (let at = 0; at < BLOCK; at += 1) sum += at >= 148 && at < 156 ? 0 : (header[at] ?? 0);
  if (octal(header, 148, 8, refuse) !== sum) refuse('has a wrong checksum');
  // Go refuses all headers in which one of these is no number: mode, owner, time and device, and in
  // the format of GNU two times, which it then takes for a part of the name.
  for (const field of [100, 108, 116, 329, 337]) octal(header, field, 8, refuse);
  for (const field of format === 'gnu' ? [136, 345, 357] : [136]) octal(header, field, 12, refuse);
  return format;
}

function extend(extension: Extension, flag: string, content: Buffer, refuse: Refuse): Extension {
  const field = flag === 'L' ? 'path' : flag === 'K' ? 'linkpath' : 'records';
  // Which of two Go uses depends on their order.
  if (extension[field] !== undefined || (field === 'records' ? Object.keys(extension).length > 0 : extension.records))
    refuse('has two headers for the name of one entry');
  if (terminated(content).length === 0) refuse('has an empty long name');
  return { ...extension, [field]: field === 'records' ? readPax(content, refuse) : terminated(content) };
}

function readEntry(
  parts: { header: Buffer; format: Format; type: TarType; content: Buffer; extension: Extension },
  refuse: Refuse,
): TarEntry {
  const { header, format, type, content, extension } = parts;
  const records = new Map(extension.records ?? []);
  /** Removes a record and returns its value. Go ignores an empty one. */
  const take = (key: string) => {
    const value = records.get(key);
    records.delete(key);
    return value === undefined || value.length === 0 ? undefined : value;
  };
  const prefix = format === 'ustar' ? terminated(header.subarray(345, 500)) : Buffer.alloc(0);
  const short = terminated(header.subarray(0, 100));
  const plain = prefix.length === 0 ? short : Buffer.concat([prefix, Buffer.from('/'), short]);
  const name = take('path') ?? extension.path ?? plain;
  const target = take('linkpath') ?? extension.linkpath ?? terminated(header.subarray(157, 257));
  const inHeader = { uid: octal(header, 108, 8, refuse), gid: octal(header, 116, 8, refuse) };
  const owner = (['uid', 'gid'] as const).map((key) => take(key)?.toString('latin1') ?? inHeader[key]).join(':');
  if (!/^(0|[1-9][0-9]{0,9}):(0|[1-9][0-9]{0,9})$/.test(owner)) refuse('has an owner in pax records that is no number');
  if (take('size') !== undefined) refuse('has a size in pax records, which is not allowed');
  for (const key of ['mtime', 'atime', 'ctime']) {
    if (!/^-?[0-9]{1,15}([.][0-9]{1,15})?$/.test(take(key)?.toString('latin1') ?? '0')) refuse(`has an invalid ${key}`);
  }
  for (const key of ['uname', 'gname']) records.delete(key);
  if ([...records.keys()].some((key) => key.startsWith('GNU.sparse'))) refuse('has a sparse file');
  // Some programs take it for a directory.
  if (type === 'file' && name.at(-1) === 0x2f) refuse('has a file whose name ends with a slash');
  const mode = octal(header, 100, 8, refuse);
  return { type, name, target, mode, owner, records, content };
}

/** A number with leading zeros or blanks. Larger ones, which are written in binary, are refused. */
function octal(header: Buffer, at: number, length: number, refuse: Refuse): number {
  const text = header.subarray(at, at + length).toString('latin1');
  const digits = /^ *([0-7]*)[ \0]*$/.exec(text)?.[1];
  if (digits === undefined) return refuse(`has a header whose number at ${at} is not in octal digits`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function terminated(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
}

/** Compares all bytes with their neighbours, which is faster than a loop. */
function isZero(bytes: Buffer): boolean {
  return bytes.length === 0 || (bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1)));
}
