// Lists an archive that is copied into a container as text for the audit log: names, kinds, sizes,
// modes and owners, and then small text files in full.

import { isUtf8 } from 'node:buffer';
import { InvalidInput } from '../../../errors.ts';
import { readTar, type TarEntry } from './tar-read.ts';

/** The maximum size of a file that is shown in full, in bytes. */
const MAX_SHOWN = 16 * 1024;
/** What is shown of a value of an attribute, in bytes. */
const MAX_VALUE = 256;
/** The maximum length of the list, and of the contents after it, in characters. */
const MAX_LIST = 2 * 1024 * 1024;
const MAX_CONTENTS = 512 * 1024;

/**
 * The list comes before all contents and begins with its length, so that no content can be taken
 * for a part of it.
 * @throws InvalidInput if the archive cannot be read, or has too many entries to show them all
 */
export function listTar(archive: Buffer): string {
  const entries = readTar(archive);
  const list = [entries.length === 1 ? '1 entry:' : `${entries.length} entries:`, ...entries.map(describe)].join('\n');
  if (list.length > MAX_LIST)
    throw new InvalidInput(
      `the archive has ${entries.length} entries, more than the record can show: copy it in parts`,
    );
  const contents: string[] = [];
  let left = MAX_CONTENTS;
  for (const entry of entries) {
    const { content } = entry;
    if (content.length === 0 || content.length > MAX_SHOWN || content.includes(0) || !isUtf8(content)) continue;
    const shown = `\n\ncontent of ${quote(entry.name)}:\n${content.toString('utf8')}`;
    left -= shown.length;
    if (left < 0) {
      contents.push('\n\n(further contents are not shown)');
      break;
    }
    contents.push(shown);
  }
  return `${list}${contents.join('')}`;
}

function describe({ type, name, target, mode, owner, records, content }: TarEntry): string {
  const kind = type === 'file' ? '' : ` (${type})`;
  // Go reads the target also of an entry that is no link, and does not use it.
  const to = target.length === 0 ? '' : ` -> ${quote(target)}`;
  const more = [...records]
    .map(([key, value]) => `, ${key}=${quote(value.subarray(0, MAX_VALUE))}${value.length > MAX_VALUE ? '…' : ''}`)
    .join('');
  return `${quote(name)}${kind}${to} ${content.length} bytes, mode ${mode.toString(8).padStart(4, '0')}, owner ${owner}${more}`;
}

/** A name in one line: in quotes if it has anything but visible characters, and then exactly. */
function quote(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text).equals(bytes))
    return `"${bytes.toString('latin1').replace(/[^\x20-\x7e]|["\\]/g, escapeByte)}"`;
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S}]+$/u.test(text) && !/^"|->/.test(text)) return text;
  return JSON.stringify(text).replace(
    /[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/gu,
    (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`,
  );
}

function escapeByte(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
