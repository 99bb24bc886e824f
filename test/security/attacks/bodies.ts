// Attacks on the record by the body of a write: the object is made, and the audit log shows another
// one, or none.

import type { DirectRequest } from '../../support/direct-request.ts';
import { configMap, configMaps, dry, httpRequest, JSON_TYPE, type RequestAttack } from './request.ts';

const PROTOBUF = { 'Content-Type': 'application/vnd.kubernetes.protobuf' };

/** A write whose object may exist only if the audit log shows all of it. */
const body = (
  name: string,
  make: (id: string, namespace: string) => string | Buffer,
  headers: Record<string, string> = JSON_TYPE,
  query = '',
): RequestAttack => {
  const request = (namespace: string, id: string): DirectRequest => ({
    method: 'POST',
    path: `${configMaps(namespace)}${query}`,
    headers,
    body: make(id, namespace),
  });
  return {
    name,
    family: 'hidden bodies',
    expected: 'refused, or recorded whole',
    raw: ({ namespace }, id) => httpRequest(id, request(namespace, id)),
    plants: ({ namespace }, id) => configMaps(namespace, id),
    onlyUnrecorded: true,
    direct: ({ namespace }, id) => {
      const { connection: _, ...kept } = Object.fromEntries(
        Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]),
      );
      // What `Connection` names does not reach the API server.
      const sent = headers.Connection === undefined ? kept : { ...kept, 'content-type': 'application/json' };
      const { method, path, body: bytes } = request(namespace, id);
      return { method, path: dry(path), headers: sent, ...(bytes === undefined ? {} : { body: bytes }) };
    },
    rights: 'attempt',
  };
};

/** An object in no way special. */
const plain = (id: string): string => configMap(id);

const blanks = (bytes: number) => ' '.repeat(bytes);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

/** A field of a protobuf message. */
function field(number: number, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

const message = (name: string, namespace: string, key: string): Buffer =>
  Buffer.concat([
    field(1, Buffer.concat([field(1, name), field(3, namespace)])),
    field(2, Buffer.concat([field(1, key), field(2, 'x')])),
  ]);
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0]);
const TYPE = field(1, Buffer.concat([field(1, 'v1'), field(2, 'ConfigMap')]));

export const bodyAttacks: readonly RequestAttack[] = [
  body('a content type that Connection takes away', (id) => `${blanks(4096)}${configMap(id)}`, {
    ...PROTOBUF,
    Connection: 'content-type',
  }),
  body(
    'a protobuf envelope with two objects',
    (id, namespace) =>
      Buffer.concat([
        MAGIC,
        TYPE,
        field(2, message('harmless', namespace, 'a')),
        field(2, message(id, namespace, 'implant')),
      ]),
    PROTOBUF,
  ),
  body(
    'a protobuf envelope with two types',
    (id, namespace) => Buffer.concat([MAGIC, TYPE, TYPE, field(2, message(id, namespace, 'implant'))]),
    PROTOBUF,
  ),
  body(
    'an unknown field of protobuf before the object',
    (id, namespace) => Buffer.concat([MAGIC, field(15, 'harmless'), TYPE, field(2, message(id, namespace, 'implant'))]),
    PROTOBUF,
  ),
  body('an object twice in one field of JSON', (id) =>
    configMap(id).replace('"data"', '"data":{"harmless":"x"},"data"'),
  ),
  body('an answer as YAML', plain, { ...JSON_TYPE, Accept: 'application/yaml' }),
  body('an answer as protobuf', plain, { ...JSON_TYPE, Accept: PROTOBUF['Content-Type'] }),
  body('an answer as a table', plain, { ...JSON_TYPE, Accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' }),
  body('an answer as metadata only', plain, {
    ...JSON_TYPE,
    Accept: 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
  }),
  body('a marker of a private key before the name', (id) =>
    configMap(id, { metadata: { annotations: { a: '-----BEGIN PRIVATE KEY-----' }, name: id } }),
  ),
  body('a marker of a cookie before the name', (id) =>
    configMap(id, { metadata: { annotations: { a: 'cookie: x' }, name: id } }),
  ),
  body('a value that looks like a Secret', (id) =>
    configMap(id, { data: { a: 'kind: Secret\ndata:\n  b: c', implant: 'x' } }),
  ),
  body(
    'a body of YAML with an anchor',
    (id) => `apiVersion: v1\nkind: ConfigMap\nmetadata: &m {name: ${id}}\ndata: {implant: x}\n`,
    {
      'Content-Type': 'application/yaml',
    },
  ),
  body('two documents of YAML', (id) => `{}\n---\n${configMap(id)}`, { 'Content-Type': 'application/yaml' }),
  body('a body that claims to be compressed', plain, { ...JSON_TYPE, 'Content-Encoding': 'gzip' }),
  body('a body of CBOR', plain, { 'Content-Type': 'application/cbor' }),
  body('a body of an unknown type', plain, { 'Content-Type': 'text/plain' }),
  body('a byte order mark', (id) => `\uFEFF${configMap(id)}`),
  body('bytes that are not UTF-8', (id) => Buffer.from(configMap(id).replace('"x"', '"\xff"'), 'latin1')),
  body('two objects in a row', (id) => `${configMap('harmless')}${configMap(id)}`),
  body('one megabyte of blanks before and after', (id) => `${blanks(600_000)}${configMap(id)}${blanks(600_000)}`),
  body('a name that the API server makes', (id) => configMap(id, { metadata: { generateName: `${id}-` } })),
];
