// What a check keeps of its first reading: exactly what its CEL names after `baseline`.

import { afterAll, describe, expect, it } from 'vitest';
import { check as checkSchema } from '../api/check.ts';
import { MAX_READING } from '../api/incident-status.ts';
import { kubeObject } from '../kube/object.ts';
import { keptReading, mentionsBaseline } from './baseline-reading.ts';
import { Cel } from './cel.ts';
import { Discovery } from './discovery.ts';
import { observeChecks } from './observe.ts';

const cel = new Cel();
afterAll(() => cel.close());
const kept = (expression: string, body: string) => {
  const reading = keptReading(expression, { status: { json: '200' }, body: { jsonOrText: body } });
  return reading?.type === 'kept' ? reading.json : reading;
};

describe('the kept part of a reading', () => {
  it.each([
    ['body.count >= 3', '{"count":3}', undefined],
    ['body.count >= baseline.body.count', '{"count":3,"more":[1]}', '{"body":{"count":3}}'],
    ['baseline.body.stores.all(s, s.up)', '{"stores":[{"up":true}],"x":1}', '{"body":{"stores":[{"up":true}]}}'],
    [
      'baseline.body["a b"].c == 1 && baseline.status == 200',
      '{"a b":{"c":1,"d":2}}',
      '{"status":200,"body":{"a b":{"c":1}}}',
    ],
    ['has(baseline.body.gone)', '{"count":3}', '{"body":{}}'],
    ['size(baseline) == 2', '{"a":1}', '{"status":200,"body":{"a":1}}'],
    ['baseline.body.contains("x")', 'no JSON', '{"body":"no JSON"}'],
    ['my_baseline.body == 1 && body.baseline == 2', '{}', undefined],
  ])('for %s', (expression, body, json) => {
    expect(kept(expression, body)).toBe(json);
    expect(mentionsBaseline(expression)).toBe(json !== undefined);
  });

  it('parses to the same values: integers beyond a double, doubles without a fraction, infinity', () => {
    expect(kept('baseline.body.x == 1', '{"x":[7361904271232458113, 2.0, 1e999, -0.5, null, true]}')).toBe(
      '{"body":{"x":[7361904271232458113,2.0,1e999,-0.5,null,true]}}',
    );
  });

  it('is empty if it is too large', () => {
    expect(kept('baseline.body.x == 1', JSON.stringify({ x: 'y'.repeat(MAX_READING) }))).toMatchObject({
      type: 'too-large',
    });
  });
});

describe('CEL with `baseline`', () => {
  const check = checkSchema.parse({
    name: 'c',
    kubernetes: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      name: 'x',
      cel: 'int(object.data.count) >= int(baseline.object.data.count)',
    },
  });
  async function observe(count: string, baselines?: ReadonlyMap<string, string>) {
    const [seen] = await observeChecks([check], ['tikv'], context(count), baselines);
    return seen;
  }
  const context = (count: string) => ({
    cel,
    discovery: new Discovery(),
    now: () => new Date(0),
    fetch: async () => ({ status: 200, body: '' }),
    kube: {
      get: async () => kubeObject.parse({ metadata: { name: 'x' }, data: { count, big: 'z'.repeat(100) } }),
      list: async () => ({ items: [], resourceVersion: '' }),
      read: async () => ({ resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] }),
    },
  });

  it('has the present reading before the first command, and that reading afterwards', async () => {
    const first = await observe('3');
    expect(first).toMatchObject({ passing: true, reading: '{"object":{"data":{"count":"3"}}}' });
    const baselines = new Map([['c', first?.reading ?? '']]);
    expect(await observe('4', baselines)).toMatchObject({ passing: true });
    const less = await observe('2', baselines);
    expect(less).toMatchObject({
      passing: false,
      observed: 'object.data.count = "2"; baseline.object.data.count = "3"',
    });
    expect(less).not.toHaveProperty('reading');
  });

  it('does not pass if nothing could be read then, and reports why', async () => {
    expect(await observe('3', new Map())).toMatchObject({
      passing: false,
      error: expect.stringContaining('no reading was kept from before the first command'),
    });
  });
});
