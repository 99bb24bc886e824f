// The readable rendering of protobuf bodies.

import { describe, expect, it } from 'vitest';
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
    expect(protobufText(Buffer.from('sesame'), true)).not.toContain('sesame');
  });

  it('handles invalid bytes', () => {
    for (const bytes of ['', 'k8s\0', 'k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff', 'k8s\0\x12\x7fshort']) {
      expect(protobufText(Buffer.from(bytes, 'latin1'), false)).toContain('protobuf');
    }
  });
});
