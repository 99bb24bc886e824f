// CEL in checks: what passes, how JSON is converted, and that a slow expression delays no other.

import { afterAll, describe, expect, it } from 'vitest';
import { Cel } from './cel.ts';

const cel = new Cel();
afterAll(() => cel.close());

const evaluate = (expression: string, json: string) => cel.evaluate(expression, { body: { jsonOrText: json } });

describe('an expression', () => {
  it('passes only with the boolean true', async () => {
    expect(await evaluate('body.count == 3', '{"count": 3}')).toEqual({ type: 'passed' });
    expect(await evaluate('body.count == 3', '{"count": 2}')).toEqual({ type: 'failed', text: 'false' });
    expect((await evaluate('body.count', '{"count": 1}')).type).toBe('failed');
    expect((await evaluate('"true"', '{}')).type).toBe('failed');
    expect((await evaluate('body', '{"a": true}')).type).toBe('failed');
  });

  it('does not pass if a field is missing, and names the field', async () => {
    const result = await evaluate('body.stores.all(s, s.up)', '{"count": 3}');
    expect(result).toEqual({ type: 'error', message: 'cel: field not found: stores' });
  });

  it('sees integers as integers, beyond the precision of a double too', async () => {
    expect(await evaluate('body.id == 7361904271232458113', '{"id": 7361904271232458113}')).toEqual({ type: 'passed' });
    expect((await evaluate('body.id == 7361904271232458112', '{"id": 7361904271232458113}')).type).toBe('failed');
    expect(await evaluate('body.a + 1 == 3 && body.b + 0.5 == 2.0', '{"a": 2, "b": 1.5}')).toEqual({ type: 'passed' });
    expect(await evaluate('body.list[1] == 2 && size(body.list) == 2', '{"list": [1, 2]}')).toEqual({ type: 'passed' });
  });

  it('cannot reach the properties of a JavaScript object', async () => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      expect((await evaluate(`has(body.${name})`, '{"a": 1}')).type).not.toBe('passed');
    }
  });

  it('sees text that is not JSON as a string', async () => {
    expect(await evaluate('body.contains("ok")', 'all ok here')).toEqual({ type: 'passed' });
  });

  it('has a syntax error if it does not parse', async () => {
    expect(await cel.syntaxError('body.a == 1')).toBeUndefined();
    expect(await cel.syntaxError('body.a ==')).toContain('1:');
  });
});

describe('an expression that can never pass', () => {
  it.each([
    ...['1+1', '"true"', '[true]', '{"a": true}', '-body.a', 'size(body.list)', 'body.list.size()'],
    ...['body.list.map(x, x)', 'body.list.filter(x, x > 1)', 'body.up ? 1 : 2', 'string(body.up)'],
  ])('is reported before it is evaluated: %s', async (expression) => {
    expect(await cel.syntaxError(expression)).toContain('never returns a boolean');
  });

  it.each([
    ...['true', '!body.down', 'body.up', 'body', '1 + 1 == 2', 'body.up ? body.up : 2', 'body.text.contains("ok")'],
    ...['body.list.all(x, x > 1)', 'body.list.exists(x, x > 1)', 'body.list.exists_one(x, x > 1)', 'has(body.up)'],
    ...['size(body.list) == 1', '1 in body.list', 'bool(body.text)', 'body.text.matches("a.*")', 'body.list[0]'],
  ])('is distinguished from one that can: %s', async (expression) => {
    expect(await cel.syntaxError(expression)).toBeUndefined();
  });
});

describe('a hostile expression', () => {
  it('is stopped at the time limit, delays no other, and is not retried at once', async () => {
    const quick = new Cel({ timeLimitMs: 300 });
    const list = `[${Array.from({ length: 400 }, (_, index) => index).join(',')}]`;
    const hostile = 'body.all(a, body.all(b, body.all(c, a + b + c >= 0)))';
    const variables = { body: { json: list } };
    for (let round = 0; round < 2; round += 1) {
      const result = await quick.evaluate(hostile, variables);
      expect(result).toEqual({ type: 'error', message: 'cel: took longer than 300 ms; simplify the expression' });
    }
    const begin = performance.now();
    expect((await quick.evaluate(hostile, variables)).type).toBe('error');
    expect(performance.now() - begin).toBeLessThan(100);
    expect(await quick.evaluate('size(body) == 400', variables)).toEqual({ type: 'passed' });
    await quick.close();
  });

  it('that uses too much memory ends only its worker', async () => {
    const quick = new Cel({ timeLimitMs: 10_000 });
    const doubling = Array.from({ length: 12 }, () => '+ x').join(' ');
    const greedy = `[body].map(x, ${'x + x + '.repeat(60)} x).map(x, x ${doubling} ${doubling}).map(x, x ${doubling} ${doubling}).map(x, x ${doubling} ${doubling})[0] == ""`;
    const result = await quick.evaluate(greedy, { body: { json: JSON.stringify('x'.repeat(10_000)) } });
    expect(result.type).not.toBe('passed');
    expect(await quick.evaluate('body == 1', { body: { json: '1' } })).toEqual({ type: 'passed' });
    await quick.close();
  }, 40_000);
});
