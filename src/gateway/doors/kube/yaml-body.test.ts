// YAML is forwarded as the JSON that the API server would have read. Each value here is what
// sigs.k8s.io/yaml v1.6.0 returns; test/fault/kube-yaml.test.ts asks a real API server.

import { describe, expect, it } from 'vitest';
import { NotAllowed } from '../../../errors.ts';
import { canonicalBody } from './body.ts';

function read(text: string, type = 'application/yaml'): string {
  const body = canonicalBody(Buffer.from(text), type, undefined, false);
  return body.type === 'none' ? '' : body.bytes.toString('utf8');
}
const value = (yaml: string) => read(`v: ${yaml}\n`).slice('{"v":'.length, -1);

describe('a scalar of YAML is what the API server makes of it', () => {
  it.each([
    ['12:30:45', '"12:30:45"'],
    ['190:20:30.15', '"190:20:30.15"'],
    ['1:30', '"1:30"'],
    ['2001-01-01', '"2001-01-01"'],
    ['2001-12-14t21:59:43.10-05:00', '"2001-12-14t21:59:43.10-05:00"'],
    ['2026-11-26T19:00:00Z', '"2026-11-26T19:00:00Z"'],
    ['2001-12-14 21:59:43', '"2001-12-14 21:59:43"'],
    ['nO', '"nO"'],
    ['yes', 'true'],
    ['Y', 'true'],
    ['off', 'false'],
    ['~', 'null'],
    ['', 'null'],
    ['nULL', '"nULL"'],
  ])('%s is %s', (yaml, json) => expect(value(yaml)).toBe(json));

  it.each([
    ['010', '8'],
    ['08', '8'],
    ['0o10', '8'],
    ['-0O17', '-15'],
    ['0b11', '3'],
    ['0B11', '3'],
    ['0b-1', '-1'],
    ['0X1F', '31'],
    ['1_000', '1000'],
    ['1_', '1'],
    ['_1', '"_1"'],
    ['-_', '"-_"'],
    ['0x_', '"0x_"'],
    ['18446744073709551615', '18446744073709551615'],
    ['18446744073709551616', '18446744073709552000'],
    ['+9223372036854775808', '9223372036854776000'],
    ['0x10000000000000000', '"0x10000000000000000"'],
    ['07777777777777777777777777', '7.777777777777778e+24'],
    ['1.50', '1.5'],
    ['1.', '1'],
    ['.5_0', '0.5'],
    ['.5_', '".5_"'],
    ['-.5_', '-0.5'],
    ['.', '"."'],
    ['.e5', '".e5"'],
    ['1e400', '"1e400"'],
    ['1e1_0', '10000000000'],
    ['-0.0', '-0'],
    ['-0', '0'],
    ['+.nan', '"+.nan"'],
  ])('%s is %s, a number or not', (yaml, json) => expect(value(yaml)).toBe(json));

  it.each([
    ['!!str 12', '"12"'],
    ['!!int "12"', '12'],
    ['!!float 1', '1'],
    ['!!float 9007199254740993', '9007199254740992'],
    ['!!bool "yes"', 'true'],
    ['!!null ""', 'null'],
    ['!!binary aGk=', '"hi"'],
    ['!!binary "aGVs\\nbG8="', '"hello"'],
    ['"12:30"', '"12:30"'],
    ["'yes'", '"yes"'],
    ['|\n  010', '"010\\n"'],
    ['<<', '"<<"'],
  ])('%s is %s, by its tag or quotes', (yaml, json) => expect(value(yaml)).toBe(json));
});

describe('maps of YAML are what the API server makes of them', () => {
  it.each([
    ['of keys that are not strings', '{yes: 1, 010: 2, 0x1f: 3, 1: 4}', '{"1":4,"8":2,"31":3,"true":1}'],
    ['of keys that look like times', '{2001-01-01: 1, 12:30: 2}', '{"2001-01-01":1,"12:30":2}'],
    ['of keys that stand twice', '{a: 1, a: 2}', '{"a":2}'],
    ['of the same key, written otherwise', '{1: a, 0x1: b}', '{"1":"b"}'],
    ['with a merge, which overwrites what stands before', '{p: 5, <<: {p: 1, q: 2}}', '{"p":1,"q":2}'],
    ['with a merge, which is overwritten by what follows', '{<<: {p: 1}, p: 5}', '{"p":5}'],
    ['with several merges, of which the first wins', '{<<: [{p: 1}, {p: 2, q: 3}]}', '{"p":1,"q":3}'],
    ['with a key that only looks like a merge', '{"<<": {p: 1}}', '{"<<":{"p":1}}'],
    ['with anchors given twice', '[&a 1, *a, &a 2, *a]', '[1,1,2,2]'],
    ['with names of JavaScript', '{__proto__: {a: 1}, constructor: 2}', '{"__proto__":{"a":1},"constructor":2}'],
    ['without values', '{a, ? b}', '{"a":null,"b":null}'],
  ])('%s', (_what, yaml, json) => expect(value(yaml)).toBe(json));
});

describe('YAML is refused', () => {
  it.each([
    ['for numbers that JSON does not have', 'v: .inf', 'JSON has no number Infinity'],
    ['for what is not a number', 'v: .NaN', 'JSON has no number NaN'],
    ['for a key of null', '~: a', 'a key must be a string'],
    ['for a key with a fraction', '1.10: a', 'a key must be a string'],
    ['for a key of 64 bits without sign', '9223372036854775808: a', 'a key must be a string'],
    ['for a key that is a map', '? {a: b}\n: c', 'a key must be a string'],
    ['for keys of which chance would pick one', '1: a\n"1": b', 'the key "1" is given as bigint and as string'],
    ['for an unknown tag', 'v: !foo 1', 'not a valid !foo'],
    ['for a tag that does not fit', 'v: !!int x', '"x" is not a valid tag:yaml.org,2002:int'],
    ['for a tag on a map', 'v: !!set {a}', 'tag:yaml.org,2002:set is not supported'],
    ['for bytes that are no text', 'v: !!binary /w==', 'binary'],
    ['for base64 that is none', 'v: !!binary "aG k="', 'binary'],
    ['for a merge of something else', 'v: {<<: 1}', '<< needs a map'],
    ['for an alias without an anchor', 'v: *a', 'alias'],
    ['for an anchor in itself', 'v: &a [*a]', 'the anchor a contains itself'],
    ['for a second document', 'a: 1\n---\nb: 2\n', 'more than one document'],
    ['for a line break that is only YAML’s', '# \u2028v: 1', 'U+2028 must be escaped'],
    ['for a control character', 'v: \u0007', 'U+0007 must be escaped'],
    ['for a carriage return alone', 'a: 1\rb: 2', 'U+000d must be escaped'],
    ['for a colon that two readers take differently', 'v: [a:]', 'a blank is missing after a colon'],
    ['for its depth', `v: ${'['.repeat(10_000)}`, 'nested too deeply'],
    ['for half of a surrogate pair', '{"v":"\\ud800"}', 'half of a surrogate pair'],
  ])('%s', (_what, yaml, message) => {
    expect(() => read(yaml)).toThrow(NotAllowed);
    expect(() => read(yaml)).toThrow(message);
  });
});

it('JSON is written so that a reader of YAML finds the same text', () => {
  const text = 'a \u0085 b \u2028 c \u2029 d \ufeff e \u007f';
  const forwarded = read(JSON.stringify({ v: text, [text]: 1 }), 'application/apply-patch+yaml');
  expect(forwarded).toMatch(/^[\x20-\x7e]*$/);
  expect(JSON.parse(forwarded)).toEqual({ v: text, [text]: 1 });
  expect(read(String.raw`{"v":"\\ud800"}`)).toBe(String.raw`{"v":"\\ud800"}`);
});
