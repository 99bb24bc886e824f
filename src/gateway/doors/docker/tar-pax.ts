// Reads pax records, which give an entry of an archive a longer name and more. Pure.

const TEXTS: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname']);

/** The records by their keys: "LENGTH KEY=VALUE\n", where LENGTH is that of the whole record. */
export function readPax(content: Buffer, refuse: (why: string) => never): ReadonlyMap<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < content.length; ) {
    const blank = content.indexOf(' ', at);
    const digits = blank === -1 ? '' : content.subarray(at, blank).toString('latin1');
    const end = /^[1-9][0-9]{0,7}$/.test(digits) ? at + Number(digits) : 0;
    const record = content.subarray(blank + 1, end);
    const mark = record.indexOf('=');
    if (end <= blank || end > content.length || record.at(-1) !== 0x0a || mark < 1) refuse('has invalid pax records');
    const key = record.subarray(0, mark).toString('latin1');
    const value = record.subarray(mark + 1, -1);
    if (!/^[\x21-\x7e]+$/.test(key) || records.has(key) || (TEXTS.has(key) && value.includes(0)))
      refuse('has invalid pax records');
    records.set(key, value);
    at = end;
  }
  return records;
}
