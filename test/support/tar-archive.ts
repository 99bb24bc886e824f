// Archives in the format of tar, also wrong ones.

export interface TarParts {
  name: string | Buffer;
  flag?: string;
  content?: string;
  /** Another size in the header than that of the content. */
  size?: number;
  target?: string;
  /** In the format of GNU instead of ustar. */
  gnu?: boolean;
  /** Raw bytes at places in the header. */
  numbers?: Record<number, Buffer>;
}

/** One entry: its header with a checksum, and its content, padded. */
export function tarEntry({
  name,
  flag = '0',
  content = '',
  size,
  target = '',
  gnu = false,
  numbers = {},
}: TarParts): Buffer {
  const body = Buffer.from(content, 'latin1');
  const header = Buffer.alloc(512);
  header.set(Buffer.from(name), 0);
  header.write('0000644\x000000000\x000000000\0', 100, 'latin1');
  header.write(`${(size ?? body.length).toString(8).padStart(11, '0')}\x0000000000000\0`, 124, 'latin1');
  header.write(flag, 156, 'latin1');
  header.write(target, 157, 'latin1');
  header.write(gnu ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
  for (const [at, bytes] of Object.entries(numbers)) header.set(bytes, Number(at));
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([header, body, Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

/** An archive of entries, with its end mark. */
export function tarOf(...entries: readonly TarParts[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)]);
}

/** Pax records as the content of an entry. */
export function pax(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = rest.length + 1;
      while (String(length).length + rest.length !== length) length += 1;
      return `${length}${rest}`;
    })
    .join('');
}
