// Each way to a model with a key, from the agent's process through the gateway's door and its adapter to a
// double that checks the credential for real. The identities of pods are in providers-identity.test.ts.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Answer, bearerWall, bedrockWall, type Wall } from '../support/provider-doubles.ts';
import { ProviderFixtures } from '../support/provider-fixtures.ts';
import { expectNoSecret, expectRepaired, runThrough } from '../support/provider-session.ts';
import type { SeenRequest } from '../support/sigv4-wall.ts';

const fixtures = new ProviderFixtures();
afterAll(() => fixtures.close());

describe('a key', () => {
  it('goes as a bearer token to a server that takes nothing else, and never in x-api-key', async () => {
    const OPLAB_MODEL_KEY_FILE = await fixtures.file('sk-vllm\n');
    const result = await runThrough({
      ...{ wall: bearerWall('sk-vllm'), model: 'claude-opus-5-5' },
      settings: { OPLAB_MODEL_AUTH: 'bearer', OPLAB_MODEL_KEY_FILE },
    });
    expectRepaired(result);
    expect([...result.secrets]).toEqual(['sk-vllm']);
    expect(result.double.requests.map(({ headers }) => headers['x-api-key'])).toEqual([undefined]);
  });

  it('in the wrong header ends the attempt at the first call, with the key named as the cause', async () => {
    const OPLAB_MODEL_KEY_FILE = await fixtures.file('sk-vllm\n');
    const { report, double } = await runThrough({
      ...{ wall: bearerWall('sk-vllm'), model: 'claude-opus-5-5', settings: { OPLAB_MODEL_KEY_FILE } },
    });
    expect(report).toMatchObject({ code: 'OPLAB_MODEL_KEY_REFUSED' });
    expect(double.requests).toHaveLength(1);
  });

  it('is not needed where a server takes none', async () => {
    const result = await runThrough({
      ...{ wall: ({ path, body }) => ({ path, body }), model: 'qwen3', settings: {} },
      chain: { prices: { qwen3: { input: 1, output: 1 } } },
    });
    expectRepaired(result);
    const [seen] = result.double.requests;
    expect(seen?.headers).not.toHaveProperty('authorization');
    expect(seen?.headers).not.toHaveProperty('x-api-key');
  });

  it('that was exchanged in its file while a call was under way is used for one more try', async () => {
    const home = await fixtures.files({ 'api-key': 'old\n' });
    let written = false;
    const wall: Wall = (request) => {
      if (request.headers.authorization === 'Bearer new') return { path: request.path, body: request.body };
      if (!written) written = true;
      return { status: 401, body: { error: 'Unauthorized' } };
    };
    const result = await runThrough({
      wall: (request) => {
        const verdict = wall(request);
        if (written) writeFileSync(path.join(home, 'api-key'), 'new\n');
        return verdict;
      },
      model: 'claude-opus-5-5',
      settings: { OPLAB_MODEL_AUTH: 'bearer', OPLAB_MODEL_KEY_FILE: path.join(home, 'api-key') },
    });
    expectRepaired(result);
    expect(result.double.verdicts).toEqual([401, 0]);
  });
});

describe('Claude in Amazon Bedrock', () => {
  const MODEL = 'anthropic.claude-opus-5-5';
  const keys = new Map([['AKIAEXAMPLE', { secret: 'a-secret-of-forty-characters-or-so-yes-it' }]]);
  const rules = { region: 'eu-west-1', service: 'bedrock-mantle', keys };
  const settings = { OPLAB_MODEL_PROVIDER: 'bedrock', OPLAB_MODEL_REGION: 'eu-west-1' };
  const accessKey = async (secret = 'a-secret-of-forty-characters-or-so-yes-it') => ({
    ...settings,
    OPLAB_MODEL_AUTH: 'access-key',
    OPLAB_MODEL_SECRET_DIR: await fixtures.files({
      'access-key-id': 'AKIAEXAMPLE\n',
      'secret-access-key': `${secret}\n`,
    }),
  });

  it('takes a session that is signed with an access key', async () => {
    const result = await runThrough({
      wall: bedrockWall(rules),
      base: '/anthropic',
      model: MODEL,
      settings: await accessKey(),
    });
    expectRepaired(result);
    expect([...result.secrets]).toEqual(['a-secret-of-forty-characters-or-so-yes-it']);
  });

  it('refuses a request that was changed after it was signed, in whatever part', async () => {
    const seen: SeenRequest[] = [];
    const result = await runThrough({
      wall: (request) => {
        seen.push(request);
        return bedrockWall(rules)(request);
      },
      ...{ base: '/anthropic', model: MODEL, settings: await accessKey() },
    });
    expectRepaired(result);
    const [good] = seen;
    if (good === undefined) throw new Error('nothing was asked');
    const statusOf = (change: Partial<SeenRequest>, other = rules) => {
      const verdict = bedrockWall(other)({ ...good, ...change });
      return 'status' in verdict ? verdict.status : 0;
    };
    const { headers } = good;
    const authorization = String(headers.authorization);
    const withHeaders = (more: SeenRequest['headers']) => ({ headers: { ...headers, ...more } });
    expect(statusOf({})).toBe(0);
    const body = Buffer.from(good.body.toString().replace('"max_tokens":16000', '"max_tokens":16001'));
    expect(body.equals(good.body)).toBe(false);
    expect(statusOf({ body })).toBe(403);
    expect(statusOf({ path: `${good.path}?beta=true` })).toBe(403);
    expect(statusOf({ method: 'PUT' })).toBe(403);
    expect(statusOf(withHeaders({ host: 'elsewhere' }))).toBe(403);
    expect(statusOf(withHeaders({ 'anthropic-version': '2020-01-01' }))).toBe(403);
    expect(statusOf(withHeaders({ 'x-amz-date': '20200101T000000Z' }))).toBe(403);
    expect(statusOf(withHeaders({ authorization: authorization.replace('host;', '') }))).toBe(403);
    expect(
      statusOf(withHeaders({ authorization: authorization.replace(/.$/, (last) => (last === '0' ? '1' : '0')) })),
    ).toBe(403);
    expect(statusOf({}, { ...rules, region: 'us-east-1' })).toBe(403);
    expect(statusOf({}, { ...rules, service: 'bedrock' })).toBe(403);
    const later = () => Date.now() + 6 * 60_000;
    const verdict = bedrockWall({ ...rules, now: later })(good);
    expect('status' in verdict && verdict.status).toBe(403);
  });

  it('ends the attempt at the first call if the secret is wrong', async () => {
    const { report, double, ...result } = await runThrough({
      ...{ wall: bedrockWall(rules), base: '/anthropic', model: MODEL },
      settings: await accessKey('another-secret-of-forty-characters-yes-it'),
    });
    expect(report).toMatchObject({
      code: 'OPLAB_MODEL_KEY_REFUSED',
      message: expect.stringContaining('signature we calculated does not match'),
    });
    expect(double.requests).toHaveLength(1);
    expectNoSecret({ report, double, ...result });
  });

  it('ends the attempt without a call if the Secret lacks an entry, and says which', async () => {
    const OPLAB_MODEL_SECRET_DIR = await fixtures.files({ 'access-key-id': 'AKIAEXAMPLE' });
    const { report, double } = await runThrough({
      ...{ wall: bedrockWall(rules), base: '/anthropic', model: MODEL },
      settings: { ...settings, OPLAB_MODEL_AUTH: 'access-key', OPLAB_MODEL_SECRET_DIR },
    });
    expect(report).toMatchObject({
      code: 'OPLAB_MODEL_KEY_REFUSED',
      message: expect.stringContaining('put secret-access-key into the Secret'),
    });
    expect(double.requests).toHaveLength(0);
  });

  it('takes an API key of Bedrock as a bearer token', async () => {
    const OPLAB_MODEL_KEY_FILE = await fixtures.file('bedrock-api-key-x');
    const result = await runThrough({
      wall: (request) => {
        const verdict = bearerWall('bedrock-api-key-x')(request);
        return 'status' in verdict ? verdict : { ...verdict, path: verdict.path.replace('/anthropic', '') };
      },
      ...{ base: '/anthropic', model: MODEL },
      settings: { ...settings, OPLAB_MODEL_AUTH: 'bearer', OPLAB_MODEL_KEY_FILE },
    });
    expectRepaired(result);
  });
});

describe('an error in the words of', () => {
  const aws = (status: number, type: string, message: string) => ({
    ...{ status, body: { __type: `com.amazon.coral.service#${type}`, message } },
    headers: { 'x-amzn-errortype': type },
  });
  const google = (status: number, name: string, message: string) => ({
    ...{ status, body: [{ error: { code: status, message, status: name } }] },
  });
  const answers = async (first: Answer) => {
    let asked = 0;
    return await runThrough({
      wall: ({ path: to, body }) => (asked++ === 0 ? first : { path: to, body }),
      ...{ model: 'claude-opus-5-5', settings: {} },
    });
  };

  it.each<[string, Answer, string]>([
    ['AWS about a role without the right', aws(403, 'AccessDeniedException', 'not authorized'), 'KEY_REFUSED'],
    ['AWS about an expired token', aws(403, 'ExpiredTokenException', 'expired'), 'KEY_REFUSED'],
    ['AWS about a model that it does not have', aws(404, 'ResourceNotFoundException', 'model not found'), 'UNKNOWN'],
    ['Google about an expired token', google(401, 'UNAUTHENTICATED', 'invalid authentication'), 'KEY_REFUSED'],
    ['Google about a right that is missing', google(403, 'PERMISSION_DENIED', 'denied on resource'), 'KEY_REFUSED'],
    ['Google about a model that it does not have', google(404, 'NOT_FOUND', 'model was not found'), 'UNKNOWN'],
  ])('%s ends the attempt at the first call', async (_what, answer, code) => {
    const { report, double } = await answers(answer);
    expect(report).toMatchObject({ code: `OPLAB_MODEL_${code}` });
    expect(double.requests).toHaveLength(1);
  });

  it.each<[string, Answer]>([
    ['AWS that is throttling', aws(429, 'ThrottlingException', 'Too many requests')],
    ['AWS whose model is not ready', aws(503, 'ServiceUnavailableException', 'try again')],
    [
      'Google whose quota of the minute is used',
      google(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded for requests per minute'),
    ],
    ['Google that is not available', google(503, 'UNAVAILABLE', 'unavailable')],
  ])('%s is waited for', async (_what, answer) => {
    const { report, conclusions, double } = await answers(answer);
    expect(report).toBeUndefined();
    expect(conclusions).toMatchObject([{ outcome: 'Fixed' }]);
    expect(double.verdicts).toEqual([answer.status, 0]);
  });
});
