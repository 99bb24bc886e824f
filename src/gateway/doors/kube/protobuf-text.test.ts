// The readable rendering of protobuf bodies.

import { describe, expect, it } from 'vitest';
import { NotAllowed, TooLarge } from '../../../errors.ts';
import { protobufText } from './protobuf-text.ts';

const field = (number: number, bytes: Buffer) => Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
const text = (number: number, value: string) => field(number, Buffer.from(value));
const envelope = (kind: string, object: Buffer) =>
  Buffer.concat([
    Buffer.from([0x6b, 0x38, 0x73, 0]),
    field(1, Buffer.concat([text(1, 'v1'), text(2, kind)])),
    field(2, object),
  ]);

describe('protobufText', () => {
  it('shows every string and number of an object', () => {
    const spec = Buffer.concat([
      Buffer.from([0x08, 3]),
      text(2, 'image\nwith a line break'),
      field(3, Buffer.from([0, 255, 254, 7, 7])),
    ]);
    const shown = protobufText(envelope('Pod', Buffer.concat([field(1, text(1, 'web')), field(2, spec)])), false);
    expect(shown).toContain('kind: Pod');
    expect(shown).toContain('"web"');
    expect(shown).toContain('1: 3');
    expect(shown).toContain('"image\\nwith a line break"');
    expect(shown).toContain('5 bytes 00fffe0707');
  });

  it('shows nothing of a Secret', () => {
    const object = text(2, 'sesame');
    expect(protobufText(envelope('Secret', object), false)).not.toContain('sesame');
    expect(protobufText(envelope('Patched', object), true)).not.toContain('sesame');
  });

  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['no magic', Buffer.from('sesame')],
    ['JSON under its name', Buffer.from(' {"kind":"Pod"}')],
    ['no message', Buffer.from('k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1')],
    ['a field that is cut off', Buffer.from('k8s\0\x12\x7fshort', 'latin1')],
    ['two objects', Buffer.concat([envelope('Pod', text(1, 'harmless')), field(2, text(1, 'real'))])],
    [
      'two types',
      Buffer.concat([envelope('Pod', text(1, 'x')), field(1, Buffer.concat([text(1, 'v1'), text(2, 'Secret')]))]),
    ],
    ['an encoding', Buffer.concat([envelope('Pod', text(1, 'x')), text(3, 'gzip')])],
    ['another content type', Buffer.concat([envelope('Pod', text(1, 'x')), text(4, 'application/json')])],
    ['a field that nobody knows', Buffer.concat([envelope('Pod', text(1, 'x')), text(9, 'x')])],
    ['an object that is no message', envelope('Pod', Buffer.from('{"kind":"Pod"}'))],
    [
      'two kinds in its type',
      Buffer.concat([
        Buffer.from([0x6b, 0x38, 0x73, 0]),
        field(1, Buffer.concat([text(1, 'v1'), text(2, 'Pod'), text(2, 'Secret')])),
        field(2, text(1, 'x')),
      ]),
    ],
  ])('refuses an envelope that could be read in two ways: %s', (_what, body) => {
    expect(() => protobufText(body, false)).toThrow(NotAllowed);
  });

  it('refuses more fields than it can show', () => {
    const many = Buffer.concat(Array.from({ length: 25_000 }, () => Buffer.from([0x08, 1])));
    const long = Buffer.concat([
      Buffer.from([0x12, 0x80 | (many.length & 0x7f), 0x80 | ((many.length >> 7) & 0x7f), many.length >> 14]),
      many,
    ]);
    const body = Buffer.concat([envelope('Pod', text(1, 'x')).subarray(0, -text(1, 'x').length - 2), long]);
    expect(() => protobufText(body, false)).toThrow(TooLarge);
  });
});
