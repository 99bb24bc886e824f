// The prometheus check: samples with doubles, NaN and infinities; an error is not an empty result.

import { afterAll, describe, expect, it } from 'vitest';
import { fakeService } from '../../test/support/fake-service.ts';
import { check as checkSchema } from '../api/check.ts';
import { Cel } from './cel.ts';
import { Discovery } from './discovery.ts';
import type { HttpAnswer } from './http-fetch.ts';
import { observeChecks } from './observe.ts';

const cel = new Cel();
afterAll(() => cel.close());

async function ask(check: object, answer: HttpAnswer) {
  const paths: string[] = [];
  const parsed = checkSchema.parse({ name: 'c', prometheus: { service: 'prometheus', query: 'up', ...check } });
  const [seen] = await observeChecks([parsed], ['tikv'], {
    cel,
    discovery: new Discovery(),
    now: () => new Date(0),
    fetch: async (request) => {
      paths.push(request.path);
      return answer;
    },
    kube: { ...fakeService({ name: 'prometheus' }), read: async () => ({}) },
  });
  return { seen, path: paths[0] };
}

const answer = (resultType: string, result: unknown): HttpAnswer => ({
  status: 200,
  body: JSON.stringify({ status: 'success', data: { resultType, result } }),
});
const vector = (...samples: [Record<string, string>, string][]) =>
  answer(
    'vector',
    samples.map(([metric, value]) => ({ metric, value: [1700000000.1, value] })),
  );

describe('a prometheus check', () => {
  it('queries at the given prefix, and passes when nothing matches', async () => {
    const { seen, path } = await ask({ query: 'up{job="pd"} == 0', pathPrefix: '/prom' }, vector());
    expect(path).toBe('/prom/api/v1/query?query=up%7Bjob%3D%22pd%22%7D+%3D%3D+0&timeout=4s');
    expect(seen).toMatchObject({ passing: true, observed: 'samples = []; answered by pod prometheus-0' });
  });

  it('shows what matches', async () => {
    const { seen } = await ask({}, vector([{ __name__: 'up', store: '4' }, '0']));
    expect(seen).toMatchObject({
      passing: false,
      observed: String.raw`samples = ["up{store=\"4\"} 0"]; answered by pod prometheus-0`,
    });
  });

  it.each([
    ['whole numbers are doubles', 'samples.all(s, s.value == 3.0) && samples[0].value * 2.0 == 6.0', '3'],
    ['numbers are written in many ways', 'samples[0].value == 1500000.0', '1.5e+06'],
    ['infinity is larger than anything', 'samples[0].value > 1.0e300', '+Inf'],
    ['and smaller', 'samples[0].value < -1.0e300', '-Inf'],
    ['NaN is not equal to itself', 'samples[0].value != samples[0].value', 'NaN'],
    ['labels are strings', 'samples.exists(s, s.labels["store"] == "4" && !("x" in s.labels))', '0'],
  ])('%s', async (_what, expression, value) => {
    const { seen } = await ask({ cel: expression }, vector([{ store: '4' }, value]));
    expect(seen).toMatchObject({ passing: true });
    expect(seen?.error).toBeUndefined();
  });

  it('treats a scalar as one sample without labels', async () => {
    const { seen } = await ask(
      { query: 'scalar(up)', cel: 'samples[0].value == 1.0 && size(samples[0].labels) == 0' },
      answer('scalar', [1, '1']),
    );
    expect(seen?.passing).toBe(true);
  });

  const unreadable: readonly [string, HttpAnswer, RegExp][] = [
    [
      'an error of the query',
      { status: 400, body: '{"status":"error","errorType":"bad_data","error":"parse error"}' },
      /rejects the query: bad_data: parse error/,
    ],
    ['a server that starts', { status: 503, body: 'Service Unavailable' }, /status 503/],
    ['another server', { status: 200, body: '<html>' }, /not an answer of the query API/],
    ['a range vector', answer('matrix', []), /returns a matrix/],
    [
      'half an answer',
      { status: 200, body: '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}' },
      /not an answer of the query API/,
    ],
  ];
  it.each(unreadable)('cannot be read from %s', async (_what, given, error) => {
    // Not even an expression that is always true passes.
    const { seen } = await ask({ cel: 'true' }, given);
    expect(seen).toMatchObject({ passing: false, error: expect.stringMatching(error) });
    expect(seen?.observed).toBeUndefined();
  });
});
