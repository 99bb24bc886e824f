// What is forwarded is what is recorded, for every content type and every trick with it.

import { describe, expect, it } from 'vitest';
import { NotAllowed, TooLarge } from '../../../errors.ts';
import { canonicalBody } from './body.ts';

const read = (text: string | Buffer, type?: string, encoding?: string) =>
  canonicalBody(Buffer.from(text), type, encoding, false);
const forwarded = (text: string, type?: string) => {
  const body = read(text, type);
  return body.type === 'none' ? undefined : { text: body.bytes.toString('utf8'), contentType: body.contentType };
};
const pod = '{"kind":"Pod","metadata":{"name":"x"}}';

describe('a body goes on as it is recorded', () => {
  it.each([
    [undefined, 'application/json'],
    ['application/json', 'application/json'],
    ['Application/JSON; charset=utf-8', 'application/json'],
    ['application/yaml', 'application/json'],
    ['application/merge-patch+json', 'application/merge-patch+json'],
    ['application/json-patch+json', 'application/json-patch+json'],
    ['application/strategic-merge-patch+json', 'application/strategic-merge-patch+json'],
    ['application/apply-patch+yaml', 'application/apply-patch+yaml'],
  ])('of type %s as %s', (given, contentType) => {
    expect(forwarded(pod, given)).toEqual({ text: pod, contentType });
  });

  it('without blanks around or inside it, however many there are', () => {
    const blanks = ' '.repeat(1_000_000);
    expect(forwarded(`${blanks}{"kind":\n"Pod", "metadata": {"name": "x"}}${blanks}`)?.text).toBe(pod);
  });

  it('with each key once, the last as the API server takes it', () => {
    expect(forwarded('{"kind":"ConfigMap","kind":"Pod","metadata":{"name":"a","name":"x"}}')?.text).toBe(pod);
  });

  it('with numbers as they were written, and every key', () => {
    const text = '{"a":9007199254740993,"b":1.50,"c":-0,"__proto__":{"x":1},"1":2}';
    const once = forwarded(text)?.text ?? '';
    for (const kept of ['9007199254740993', '1.50', '-0', '"__proto__":{"x":1}']) expect(once).toContain(kept);
    expect(forwarded(once)?.text).toBe(once);
  });

  it('also if it is YAML: as JSON', () => {
    expect(forwarded('kind: Pod\nmetadata:\n  name: x\n', 'application/yaml')?.text).toBe(pod);
    expect(forwarded('a: 9007199254740993\nb: yes\nc: "yes"\n', 'application/apply-patch+yaml')?.text).toBe(
      '{"a":9007199254740993,"b":true,"c":"yes"}',
    );
    expect(forwarded('a: 1\na: 2\n', 'application/yaml')?.text).toBe('{"a":2}');
  });

  it('and nothing if there is nothing', () => {
    expect(read('', 'application/json')).toEqual({ type: 'none' });
  });
});

describe('a body takes little time, whatever it holds', () => {
  const MIB = 1024 * 1024;
  it.each<[string, string, new (...rest: never[]) => Error]>([
    ['numbers', `[${'0,'.repeat(1.5 * MIB)}0]`, TooLarge],
    ['empty lists', `[${'[],'.repeat(MIB)}0]`, TooLarge],
    ['keys', `{${Array.from({ length: 250_000 }, (_, index) => `"${index}k":1`).join(',')}}`, TooLarge],
    ['levels', `${'['.repeat(MIB)}${']'.repeat(MIB)}`, NotAllowed],
  ])('with many %s', (_what, text, refusal) => {
    const started = process.threadCpuUsage();
    for (const type of ['application/json', 'application/apply-patch+yaml']) {
      expect(() => read(text, type)).toThrow(refusal);
    }
    // Of this thread alone, as the machine may be busy.
    const { user, system } = process.threadCpuUsage(started);
    expect((user + system) / 1000).toBeLessThan(1000);
  });

  it('but may hold as many commas and brackets in its texts as it likes, and what looks like numbers', () => {
    const text = JSON.stringify({ data: { a: '[{,'.repeat(200_000), b: '\\"-0 1.5e7 [[['.repeat(1000) } });
    expect(forwarded(text)?.text).toBe(text);
    const yaml = `a: ${'[{('.repeat(1000).replaceAll('[{(', 'x[{')}\n`;
    expect(forwarded(yaml, 'application/yaml')?.text).toBe(JSON.stringify({ a: 'x[{'.repeat(1000) }));
  });

  it('and is counted by its values', () => {
    expect(read('{"a":[1,2,{"b":"x,y"}],"c":null}')).toMatchObject({ values: 7 });
  });
});

describe('a body is refused', () => {
  it.each<[string, string | Buffer, string | undefined, string | undefined]>([
    ['of a type that is not the API’s', pod, 'text/plain', undefined],
    ['of CBOR', pod, 'application/cbor', undefined],
    ['of an unknown suffix', pod, 'application/x+json', undefined],
    ['that is compressed', pod, 'application/json', 'gzip'],
    ['that is not JSON', 'kind: Pod', 'application/json', undefined],
    ['of two documents of JSON', `${pod}${pod}`, 'application/json', undefined],
    ['of two documents of YAML', 'a: 1\n---\nb: 2\n', 'application/yaml', undefined],
    ['that is not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'application/json', undefined],
    ['of JSON under protobuf’s name', `${' '.repeat(4096)}${pod}`, 'application/vnd.kubernetes.protobuf', undefined],
    ['of JSON that is too deep', '['.repeat(1_000_000), 'application/json', undefined],
  ])('%s', (_what, text, type, encoding) => {
    expect(() => read(text, type, encoding)).toThrow(NotAllowed);
  });

  it('that is too large to be recorded whole, by its content and not by its blanks', () => {
    expect(() => read(JSON.stringify({ a: 'x'.repeat(1024 * 1024) }))).toThrow(TooLarge);
    expect(() => read(`a: ${'x'.repeat(64 * 1024)}`, 'application/yaml')).toThrow(TooLarge);
  });

  it('of YAML that repeats itself without end', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x]',
      ...'bcdefgh'
        .split('')
        .map((key, index) => `${key}: &${key} [${Array(8).fill(`*${'abcdefgh'[index]}`).join(',')}]`),
    ];
    expect(() => read(bomb.join('\n'), 'application/yaml')).toThrow();
  });
});
