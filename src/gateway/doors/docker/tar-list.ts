// Lists an archive that is copied into a container as text for the audit log: names, kinds and
// sizes, and small text files in full.

const BLOCK = 512;
/** The maximum size of a file that is shown in full, in bytes. */
const MAX_SHOWN = 16 * 1024;
/** The maximum length of the whole text, in characters. */
const MAX_TEXT = 512 * 1024;

const KINDS: Readonly<Record<string, string>> = { '0': '', '1': ' (hard link)', '2': ' (link)', '5': '/' };

/**
 * Never throws. The text says so if a part cannot be read. The entry has the digest of the archive.
 */
export function listTar(archive: Buffer): string {
  const lines: string[] = [];
  let length = 0;
  const say = (line: string) => {
    lines.push(line);
    length += line.length;
  };
  for (let at = 0; at + BLOCK <= archive.length && length < MAX_TEXT; ) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = Number.parseInt(word(header, 124, 12), 8);
    if (header.subarray(257, 262).toString('latin1') !== 'ustar' || !Number.isInteger(size) || size < 0) {
      say('(the rest is not a plain tar archive)');
      break;
    }
    const prefix = word(header, 345, 155);
    const name = `${prefix === '' ? '' : `${prefix}/`}${word(header, 0, 100)}`;
    const type = String.fromCharCode(header[156] ?? 0).replace('\0', '0');
    const link = word(header, 157, 100);
    say(`${name}${KINDS[type] ?? ` (type ${type})`}${link === '' ? '' : ` -> ${link}`} ${size} bytes`);
    const content = archive.subarray(at + BLOCK, at + BLOCK + size);
    if (type === '0' && size > 0 && size <= MAX_SHOWN && !content.includes(0)) say(content.toString('utf8'));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return lines.join('\n');
}

function word(header: Buffer, at: number, length: number): string {
  const field = header.subarray(at, at + length).toString('utf8');
  const end = field.indexOf('\0');
  return (end === -1 ? field : field.slice(0, end)).trim();
}
