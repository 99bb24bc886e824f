// The identities of the gateway's pod at AWS and Google, as ways to a model: each is fetched from a double
// that verifies the tokens, and used at a double that takes nothing else.

import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import {
  bedrockWall,
  googleWall,
  type IssuedKeys,
  type IssuedTokens,
  type ProviderDouble,
  podIdentityWall,
  stsWall,
  vertexWall,
  type Wall,
} from '../support/provider-doubles.ts';
import { inSeconds, ProviderFixtures, SUBJECT } from '../support/provider-fixtures.ts';
import { callOnce, expectRepaired, openWay, runThrough } from '../support/provider-session.ts';

const ROLE = 'arn:aws:iam::111122223333:role/oplab';
const POOL = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k';

const fixtures = new ProviderFixtures();
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});
afterAll(() => fixtures.close());

describe('the role of the pod at AWS', () => {
  const settings = { OPLAB_MODEL_PROVIDER: 'bedrock', OPLAB_MODEL_REGION: 'eu-west-1' };
  const MODEL = 'anthropic.claude-opus-5-5';
  const issue = (lifeMs = 3600_000): IssuedKeys => ({ keys: new Map(), lifeMs });
  const bedrock = ({ keys }: IssuedKeys) => bedrockWall({ region: 'eu-west-1', service: 'bedrock-mantle', keys });
  const trusting = (issued: IssuedKeys) => ({ roleARN: ROLE, subject: SUBJECT, trusted: fixtures.clusterKey, issued });

  async function withRole(sts: ProviderDouble, token: string) {
    return {
      ...settings,
      AWS_ROLE_ARN: ROLE,
      AWS_WEB_IDENTITY_TOKEN_FILE: await fixtures.file(token),
      AWS_ENDPOINT_URL_STS: sts.url,
    };
  }

  it('comes from STS for a token of the ServiceAccount, once for a whole session', async () => {
    const issued = issue();
    const sts = await fixtures.double(stsWall(trusting(issued)));
    const result = await runThrough({
      ...{ wall: bedrock(issued), base: '/anthropic', model: MODEL },
      settings: await withRole(sts, fixtures.podToken('sts.amazonaws.com')),
    });
    expectRepaired(result);
    expect(sts.verdicts).toEqual([200]);
    // The keys, and the token that they were given for, are kept out of the log.
    const [[, key] = []] = [...issued.keys];
    expect(result.secrets).toContain(key?.secret);
    expect(result.secrets).toContain(key?.token);
    expect([...result.secrets].some((secret) => secret.startsWith('eyJ'))).toBe(true);
  });

  /** A way with a role, and its doubles. */
  async function open({ lifeMs = 3600_000, audience = 'sts.amazonaws.com' } = {}) {
    const issued = issue(lifeMs);
    const sts = await fixtures.double(stsWall(trusting(issued)));
    const wall: Wall = (request) => {
      const verdict = bedrock(issued)(request);
      return 'status' in verdict ? verdict : { status: 200, body: {} };
    };
    const upstream = await fixtures.double(wall);
    const base = `${upstream.url}/anthropic`;
    const api = openWay({ OPLAB_UPSTREAM_URL: base, ...(await withRole(sts, fixtures.podToken(audience))) });
    return { issued, sts, upstream, api, call: () => callOnce(api, MODEL) };
  }

  it('is fetched once for calls at the same time', async () => {
    const { call, sts } = await open();
    const answers = await Promise.all(Array.from({ length: 8 }, call));
    expect(answers.map(([status]) => status)).toEqual(Array(8).fill(200));
    expect(sts.verdicts).toEqual([200]);
  });

  it('is fetched again before it expires, and used to its end if that fails', async () => {
    const { call, sts, issued } = await open({ lifeMs: 60_000 });
    expect((await call())[0]).toBe(200);
    expect((await call())[0]).toBe(200);
    expect(sts.verdicts).toEqual([200, 200]);
    await sts.close();
    expect((await call())[0]).toBe(200);
    for (const [id, key] of issued.keys) issued.keys.set(id, { ...key, expiresAt: 0 });
    vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 61_000);
    await expect(call()).rejects.toMatchObject({
      code: 'OPLAB_UPSTREAM_UNAVAILABLE',
      message: expect.stringMatching(/AWS credential of role arn:.*oplab cannot be fetched: .*ECONNREFUSED/),
    });
  });

  it('is fetched again if Bedrock refuses it, and the call is tried once more', async () => {
    const { call, sts, upstream, issued } = await open();
    expect((await call())[0]).toBe(200);
    for (const [id, key] of issued.keys) issued.keys.set(id, { ...key, expiresAt: 0 });
    // What was fetched a moment ago is not fetched again: a new one would be refused, too.
    expect(await call()).toEqual([403, expect.stringContaining('ExpiredTokenException')]);
    expect(sts.verdicts).toHaveLength(1);
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000);
    expect((await call())[0]).toBe(200);
    expect(sts.verdicts).toHaveLength(2);
    expect(upstream.verdicts.filter((status) => status === 403)).toHaveLength(2);
  });

  it.each([
    ['is for another audience', () => fixtures.podToken('vault'), /is for vault/],
    ['has expired', () => fixtures.podToken('sts.amazonaws.com', { exp: inSeconds(-10) }), /expired/],
    ['is of another ServiceAccount', () => fixtures.podToken('sts.amazonaws.com', { sub: 'agent' }), /Not authorized/],
    [
      'is signed by somebody else',
      () => {
        const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
        return fixtures.podToken('sts.amazonaws.com', {}, privateKey);
      },
      /signed by nobody who is trusted/,
    ],
  ])('ends the attempt without a call if the token %s', async (_why, token, says) => {
    const issued = issue();
    const sts = await fixtures.double(stsWall(trusting(issued)));
    const subject = token();
    const { report, double: asked } = await runThrough({
      ...{ wall: bedrock(issued), base: '/anthropic', model: MODEL },
      settings: await withRole(sts, subject),
    });
    expect(report).toMatchObject({ code: 'OPLAB_MODEL_KEY_REFUSED', message: expect.stringMatching(says) });
    expect(report?.message).toContain(`the AWS credential of role ${ROLE} cannot be fetched`);
    expect(report?.message).toContain('let the role trust the ServiceAccount');
    expect(report?.message).not.toContain(subject.slice(0, 20));
    expect(asked.requests).toHaveLength(0);
  });

  it('ends the attempt without a call if the pod has none', async () => {
    const { report } = await runThrough({
      ...{ wall: bedrock(issue()), base: '/anthropic', model: MODEL, settings },
    });
    expect(report).toMatchObject({
      code: 'OPLAB_MODEL_KEY_REFUSED',
      message: expect.stringContaining('the pod of the gateway has no identity of AWS'),
    });
  });

  it('comes from EKS Pod Identity where there is an agent of it on the node', async () => {
    const issued = issue();
    const node = await fixtures.double(podIdentityWall({ subject: SUBJECT, trusted: fixtures.clusterKey, issued }));
    const token = await fixtures.file(fixtures.podToken('pods.eks.amazonaws.com'));
    const result = await runThrough({
      ...{ wall: bedrock(issued), base: '/anthropic', model: MODEL },
      settings: {
        ...settings,
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${node.url}/v1/credentials`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
      },
    });
    expectRepaired(result);
    expect(node.verdicts).toEqual([200]);
  });

  it('comes from STS through the proxy and with the CA of the gateway', async () => {
    const issued = issue();
    const { hidden: sts, proxy, way } = await fixtures.behindProxy(stsWall(trusting(issued)));
    const { AWS_ENDPOINT_URL_STS: _, ...role } = await withRole(sts, fixtures.podToken('sts.amazonaws.com'));
    expect(await openWay({ ...role, ...way }).askModel(MODEL, AbortSignal.timeout(9000))).toBeUndefined();
    expect(sts.verdicts).toEqual([200]);
    expect(proxy.tunnels).toEqual(['sts.eu-west-1.amazonaws.com:443']);
  });

  it('is not asked of a host that is not on the node', async () => {
    const token = await fixtures.file('x');
    const api = openWay({
      ...settings,
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://elsewhere.example/v1/credentials',
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
    });
    await expect(callOnce(api, MODEL)).rejects.toThrow(/URL not accepted/);
  });
});

describe('Claude in Vertex AI', () => {
  const settings = {
    ...{ OPLAB_MODEL_PROVIDER: 'vertex', OPLAB_MODEL_REGION: 'europe-west1', OPLAB_MODEL_PROJECT: 'shop-1' },
  };
  const MODEL = 'claude-opus-4-5@20251101';
  const issue = (lifeMs = 3600_000): IssuedTokens => ({ tokens: new Map(), lifeMs });
  const vertex = (issued: IssuedTokens) => vertexWall({ project: 'shop-1', region: 'europe-west1', issued });

  it('takes a session with a token of the metadata server: the model is in the path, the version in the body', async () => {
    const issued = issue();
    const node = await fixtures.double(googleWall({ issued, metadata: true }));
    vi.stubEnv('GCE_METADATA_HOST', new URL(node.url).host);
    const result = await runThrough({ wall: vertex(issued), model: MODEL, settings });
    expectRepaired(result);
    expect(node.verdicts).toEqual([200]);
    const [seen] = result.double.requests;
    expect(seen?.path).toBe(
      '/v1/projects/shop-1/locations/europe-west1/publishers/anthropic/models/claude-opus-4-5@20251101:streamRawPredict',
    );
    expect(seen?.headers).not.toHaveProperty('anthropic-version');
    expect([...result.secrets]).toEqual([...issued.tokens.keys()]);
  });

  it('takes a token that a workload identity pool gives for one of the cluster', async () => {
    const issued = issue();
    const audience = POOL.replace('//', 'https://');
    const google = await fixtures.double(
      googleWall({ issued, pool: { audience: POOL, subject: SUBJECT, trusted: fixtures.clusterKey } }),
    );
    const token = await fixtures.file(fixtures.podToken(audience));
    const OPLAB_MODEL_SECRET_DIR = await fixtures.files({ 'credentials.json': poolFile(google.url, token) });
    const result = await runThrough({
      ...{ wall: vertex(issued), model: MODEL },
      settings: { ...settings, OPLAB_MODEL_AUTH: 'credentials-file', OPLAB_MODEL_SECRET_DIR },
    });
    expectRepaired(result);
    expect(google.verdicts).toEqual([200]);
  });

  it('ends the attempt without a call if the pool refuses the identity', async () => {
    const issued = issue();
    const google = await fixtures.double(
      googleWall({ issued, pool: { audience: POOL, subject: SUBJECT, trusted: fixtures.clusterKey } }),
    );
    const token = await fixtures.file(fixtures.podToken('another'));
    const OPLAB_MODEL_SECRET_DIR = await fixtures.files({ 'credentials.json': poolFile(google.url, token) });
    const { report, double: asked } = await runThrough({
      ...{ wall: vertex(issued), model: MODEL },
      settings: { ...settings, OPLAB_MODEL_AUTH: 'credentials-file', OPLAB_MODEL_SECRET_DIR },
    });
    expect(report).toMatchObject({
      code: 'OPLAB_MODEL_KEY_REFUSED',
      message: expect.stringMatching(/Google access token for .* cannot be fetched: .*invalid_grant/),
    });
    expect(asked.requests).toHaveLength(0);
  });

  it('takes a signed statement of a service account, through the proxy and with the CA of the gateway', async () => {
    const issued = issue();
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const email = 'oplab@shop-1.iam.gserviceaccount.com';
    const {
      hidden: google,
      proxy,
      way,
    } = await fixtures.behindProxy(googleWall({ issued, serviceAccount: { email, key: publicKey } }));
    const private_key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const key = JSON.stringify({ type: 'service_account', client_email: email, private_key });
    const secrets = new Set<string>();
    const api = openWay(
      {
        ...{ ...settings, ...way, OPLAB_MODEL_AUTH: 'credentials-file' },
        OPLAB_MODEL_SECRET_DIR: await fixtures.files({ 'credentials.json': key }),
      },
      secrets,
    );
    expect(await api.askModel(MODEL, AbortSignal.timeout(9000))).toBeUndefined();
    expect(google.verdicts).toEqual([200]);
    expect(proxy.tunnels).toEqual(['oauth2.googleapis.com:443']);
    expect([...secrets]).toEqual([private_key, ...issued.tokens.keys()]);
    for (const secret of secrets) expect(proxy.read()).not.toContain(secret);
  });

  it('exchanges the token of the cluster through the proxy and with the CA of the gateway, too', async () => {
    const issued = issue();
    const pool = { audience: POOL, subject: SUBJECT, trusted: fixtures.clusterKey };
    const { hidden: google, proxy, way } = await fixtures.behindProxy(googleWall({ issued, pool }));
    const token = await fixtures.file(fixtures.podToken(POOL.replace('//', 'https://')));
    const api = openWay({
      ...{ ...settings, ...way, OPLAB_MODEL_AUTH: 'credentials-file' },
      OPLAB_MODEL_SECRET_DIR: await fixtures.files({
        'credentials.json': poolFile('https://sts.googleapis.com', token),
      }),
    });
    expect(await api.askModel(MODEL, AbortSignal.timeout(9000))).toBeUndefined();
    expect(google.verdicts).toEqual([200]);
    expect(proxy.tunnels).toEqual(['sts.googleapis.com:443']);
  });

  it.each([
    ['would run a program', { type: 'external_account', credential_source: { executable: { command: 'id' } } }],
    ['is of another kind', { type: 'authorized_user', refresh_token: 'r' }],
    ['is no JSON', 'not JSON: secret-text'],
  ])('does not take a credential file that %s', async (_why, content) => {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    const api = openWay({
      ...{ ...settings, OPLAB_MODEL_AUTH: 'credentials-file' },
      OPLAB_MODEL_SECRET_DIR: await fixtures.files({ 'credentials.json': text }),
    });
    const failure = await callOnce(api, MODEL).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'OPLAB_MODEL_KEY_REFUSED' });
    expect(String(failure)).not.toContain('secret-text');
  });

  it.each([
    ['is expired', 0],
    ['was never issued', undefined],
  ])('refuses a token that %s', (_why, expiresAt) => {
    const issued = issue();
    if (expiresAt !== undefined) issued.tokens.set('t', expiresAt);
    const request = { method: 'POST', path: '/', headers: { authorization: 'Bearer t' }, body: Buffer.from('{}') };
    expect(vertex(issued)(request)).toMatchObject({ status: 401, body: [{ error: { status: 'UNAUTHENTICATED' } }] });
  });
});

const poolFile = (google: string, file: string) =>
  JSON.stringify({
    ...{ type: 'external_account', audience: POOL, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
    ...{ token_url: `${google}/v1/token`, credential_source: { file } },
  });
