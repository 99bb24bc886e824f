// A readable rendering of a Kubernetes protobuf body for the record: without the schema there are no field names, but every
// string and number is there. kubectl sends protobuf for much of what it creates.

import { NotAllowed, TooLarge } from '../../../errors.ts';

/** Before every protobuf body of the API. */
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
const MAX_DEPTH = 24;
/** Lines of one rendering; a body of more is refused. */
const MAX_LINES = 20_000;

type Field =
  | { readonly number: number; readonly kind: 'number'; readonly value: bigint }
  | { readonly number: number; readonly kind: 'bytes'; readonly value: Buffer };

/**
 * All fields of a message; undefined if the bytes are not a message.
 * @throws TooLarge for more than one rendering can have
 */
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
    if (fields.length >= MAX_LINES) throw tooManyFields();
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

function tooManyFields(): TooLarge {
  return new TooLarge(`the body has more than ${MAX_LINES} fields, too many to be recorded; send it as JSON`);
}

/** Printable UTF-8, or undefined. */
function decodeText(bytes: Buffer): string | undefined {
  const text = bytes.toString('utf8');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters distinguish bytes from text
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffd]/.test(text) ? undefined : text;
}

function render(bytes: Buffer, depth: number, lines: string[]): void {
  for (const field of parseFields(bytes) ?? []) {
    if (lines.length >= MAX_LINES) throw tooManyFields();
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
      lines.push(`${indent}${field.number}: ${field.value.length} bytes ${field.value.toString('hex')}`);
    }
  }
}

/** The envelope's fields, each at most once: a decoder that meets one twice takes the last. */
interface Envelope {
  readonly apiVersion: string;
  readonly kind: string;
  readonly object: Buffer;
}

/**
 * The text of a body. A Secret's is left out, because its values cannot be told from the rest.
 * @throws NotAllowed for an envelope that decoders could read in more than one way, TooLarge
 */
export function protobufText(body: Buffer, secret: boolean): string {
  const { apiVersion, kind, object } = readEnvelope(body);
  const lines = [
    `protobuf, ${body.length} bytes; fields by number, in the order of the API's schema`,
    `apiVersion: ${apiVersion}`,
    `kind: ${kind}`,
  ];
  if (secret || kind === 'Secret') lines.push('(the contents of a Secret are left out)');
  else render(object, 0, lines);
  return lines.join('\n');
}

/** runtime.Unknown of Kubernetes: 1 = {1: apiVersion, 2: kind}, 2 = raw, 3 = encoding, 4 = type. */
function readEnvelope(body: Buffer): Envelope {
  const unclear = (what: string) =>
    new NotAllowed(`the protobuf body ${what}, so it cannot be recorded as it would be read; send it as JSON`);
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) throw unclear('does not begin as the API demands');
  const fields = parseFields(body.subarray(MAGIC.length));
  if (fields === undefined) throw unclear('is not a message');
  const type = onlyBytes(fields, 1);
  const object = onlyBytes(fields, 2);
  // kubectl writes both of these, empty.
  const rest = [onlyBytes(fields, 3), onlyBytes(fields, 4)];
  const known = fields.every(({ number }) => number >= 1 && number <= 4);
  if (type === undefined || object === undefined || !known || rest.some((it) => it !== undefined && it.length > 0)) {
    throw unclear('has an envelope of another form');
  }
  const names = parseFields(type);
  const apiVersion = onlyBytes(names ?? [], 1);
  const kind = onlyBytes(names ?? [], 2);
  if (names?.length !== 2 || apiVersion === undefined || kind === undefined || parseFields(object) === undefined) {
    throw unclear('does not name one apiVersion and one kind');
  }
  return { apiVersion: apiVersion.toString('utf8'), kind: kind.toString('utf8'), object };

  function onlyBytes(of: readonly Field[], number: number): Buffer | undefined {
    const found = of.filter((field) => field.number === number);
    const [field] = found;
    if (field === undefined) return undefined;
    if (found.length > 1 || field.kind !== 'bytes') throw unclear(`has field ${number} of its envelope more than once`);
    return field.value;
  }
}
