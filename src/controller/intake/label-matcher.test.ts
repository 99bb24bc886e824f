// A sender's value cannot make the owner's expression run for long.

import { describe, expect, it } from 'vitest';
import { random } from '../../../test/support/random.ts';
import { InvalidInput } from '../../errors.ts';
import { labelMatcher } from './label-matcher.ts';

describe('the value of a label', () => {
  it.each<[string, string, boolean]>([
    ['tikv', 'tikv', true],
    ['tikv', 'tikv-2', false],
    ['', '', true],
    ['/a.c/', 'abc', true],
    ['/a.c/', 'xabcx', false],
    ['/a|b/', 'ab', false],
    ['/a|ab/', 'ab', true],
    ['/^a$/', 'a', true],
    ['/(?i)pd_.*/', 'PD_down', true],
    ['/PD_.*/', 'PD_\n', false],
    ['/.*é\\d{2}/', 'xé42', true],
    ['/\\p{Lu}+/', 'ÄÖ', true],
    ['//', '', true],
    ['/a', '/a', true],
  ])('%s and %s: %s', (text, value, matches) => {
    expect(labelMatcher(text)(value)).toBe(matches);
  });

  it.each([
    ['/(a+)+/', `${'a'.repeat(4095)}!`],
    ['/(a|aa)*/', `${'a'.repeat(4095)}!`],
    ['/.*a.*a.*a.*a.*b/', 'a'.repeat(4096)],
    ['/(.*)*(.*)*x/', 'a'.repeat(4096)],
    ['/(a?){30}a{30}b/', 'a'.repeat(4096)],
    ['/([a-z]+[0-9]*)*$!/', 'a'.repeat(4096)],
  ])('takes time in proportion to its length: %s', (text, value) => {
    const matches = labelMatcher(text);
    const started = performance.now();
    expect(matches(value)).toBe(false);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it('also for expressions that nobody thought of', () => {
    const next = random(7);
    const pick = (from: readonly string[]) => from[Math.floor(next() * from.length)] ?? '';
    const atoms = ['a', 'b', '.', '[ab]', '(a|b)', '\\w'];
    const build = (depth: number): string => {
      const inner = depth === 0 ? pick(atoms) : `(${build(depth - 1)}${build(depth - 1)})`;
      return `${inner}${pick(['', '*', '+', '?', '{1,4}'])}`;
    };
    const started = performance.now();
    let usable = 0;
    for (let count = 0; count < 200; count += 1) {
      try {
        labelMatcher(`/${build(Math.floor(next() * 4))}c/`)(pick(['a', 'ab', 'aab', 'b']).repeat(500));
        usable += 1;
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidInput);
      }
    }
    expect(usable).toBeGreaterThan(100);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it.each(['/(/', '/a(?=b)/', '/(a)\\1/', '/((a{1,30}){1,30}){1,30}/', '/(x{900}){2}/'])('refuses %s', (text) => {
    expect(() => labelMatcher(text)).toThrow(InvalidInput);
  });
});
