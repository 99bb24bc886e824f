// Renders a Kubernetes protobuf body as text for the audit log. Without the schema, it has no field
// names, but it shows every string and number. kubectl sends protobuf for many objects that it
// creates.

/** The prefix of every protobuf body of the API. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
const MAX_DEPTH = 24;
/** The maximum number of lines. */
const MAX_LINES = 5000;

type Field =
  | { readonly number: number; readonly kind: 'number'; readonly value: bigint }
  | { readonly number: number; readonly kind: 'bytes'; readonly value: Buffer };

/** Parses the fields of a message. Returns undefined if the bytes are not a message. */
function parseFields(bytes: Buffer): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint | undefined => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at];
      if (byte === undefined) return undefined;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return undefined;
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag === undefined) return undefined;
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (number === 0) return undefined;
    if (wire === 0) {
      const value = varint();
      if (value === undefined) return undefined;
      fields.push({ number, kind: 'number', value: BigInt.asIntN(64, value) });
      continue;
    }
    const size = wire === 1 ? 8n : wire === 5 ? 4n : wire === 2 ? varint() : undefined;
    if (size === undefined || size > BigInt(bytes.length - at)) return undefined;
    const value = bytes.subarray(at, at + Number(size));
    at += Number(size);
    fields.push({ number, kind: 'bytes', value });
  }
  return fields;
}

/** Decodes printable UTF-8. Returns undefined for other bytes. */
function decodeText(bytes: Buffer): string | undefined {
  const text = bytes.toString('utf8');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters distinguish bytes from text
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffd]/.test(text) ? undefined : text;
}

function render(bytes: Buffer, depth: number, lines: string[]): void {
  for (const field of parseFields(bytes) ?? []) {
    if (lines.length >= MAX_LINES) return;
    const indent = '  '.repeat(depth);
    if (field.kind === 'number') {
      lines.push(`${indent}${field.number}: ${field.value}`);
      continue;
    }
    const text = decodeText(field.value);
    if (text !== undefined) {
      lines.push(`${indent}${field.number}: ${JSON.stringify(text)}`);
    } else if (depth < MAX_DEPTH && parseFields(field.value) !== undefined) {
      lines.push(`${indent}${field.number}:`);
      render(field.value, depth + 1, lines);
    } else {
      lines.push(`${indent}${field.number}: ${field.value.length} bytes ${field.value.toString('hex', 0, 64)}`);
    }
  }
}

/**
 * Renders a body. Omits the contents of a Secret, because without the schema its values look like
 * its keys.
 */
export function protobufText(body: Buffer, secret: boolean): string {
  const head = `protobuf, ${body.length} bytes`;
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) {
    return `${head}, hex: ${secret ? '(left out)' : body.toString('hex', 0, 4096)}`;
  }
  // The envelope: 1 = {1: apiVersion, 2: kind}, 2 = the object itself.
  const envelope = parseFields(body.subarray(MAGIC.length)) ?? [];
  const findBytes = (fields: readonly Field[] | undefined, number: number) =>
    fields?.find((field) => field.number === number && field.kind === 'bytes');
  const type = findBytes(envelope, 1);
  const names = type?.kind === 'bytes' ? parseFields(type.value) : undefined;
  const name = (number: number) => {
    const found = findBytes(names, number);
    return found?.kind === 'bytes' ? found.value.toString('utf8') : '';
  };
  const lines = [
    `${head}; fields by number, in the order of the API's schema`,
    `apiVersion: ${name(1)}`,
    `kind: ${name(2)}`,
  ];
  const object = findBytes(envelope, 2);
  if (secret || name(2) === 'Secret') lines.push('(the contents of a Secret are left out)');
  else if (object?.kind === 'bytes') render(object.value, 0, lines);
  return lines.slice(0, MAX_LINES).join('\n');
}
