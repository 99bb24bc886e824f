// Each way to a model that the chart offers, installed and used: by a double of the provider that runs
// outside the cluster and checks the credential for real, in front of the scripted model.

import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { eventually } from '../support/eventually.ts';
import { apply, kubectl, trail } from '../support/live.ts';
import { dockerHost, type OperatorHarness, openOperatorHarness } from '../support/operator-harness.ts';
import {
  bearerWall,
  bedrockWall,
  googleWall,
  type IssuedKeys,
  type IssuedTokens,
  type ProviderDouble,
  startProviderDouble,
  stsWall,
  vertexWall,
  type Wall,
} from '../support/provider-doubles.ts';
import { conclude } from '../support/scripted-model.ts';

const ROLE = 'arn:aws:iam::111122223333:role/oplab';
const SUBJECT = 'system:serviceaccount:oplab-system:oplab-gateway';
const POOL = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k';
const HOUR = 3600_000;

const jwks = z.object({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) });

let lab: OperatorHarness;
let host: string;
/** The keys with which the cluster signs the tokens of its ServiceAccounts. */
let trusted: z.infer<typeof jwks>;
const doubles: ProviderDouble[] = [];
beforeAll(async () => {
  lab = await openOperatorHarness();
  host = await dockerHost();
  trusted = jwks.parse(JSON.parse(await kubectl('get', '--raw', '/openid/v1/jwks')));
});
afterAll(async () => {
  for (const double of doubles) await double.close();
  await lab?.close();
});

async function start(wall: Wall): Promise<{ url: string; double: ProviderDouble }> {
  const forwardTo = `http://127.0.0.1:${lab.model.port}`;
  const double = await startProviderDouble({ wall, forwardTo, host: '0.0.0.0' });
  doubles.push(double);
  return { url: `http://${host}:${double.port}`, double };
}

async function secret(name: string, stringData: Record<string, string>): Promise<string> {
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: 'oplab-system' }, stringData });
  return name;
}

/** One Incident whose agent claims at its first turn, which is one call of the model. */
async function openIncident(name: string) {
  lab.model.play(conclude('cannot_fix', `asked by ${name}`));
  await lab.open(name);
  const { status } = await lab.finished(name);
  expect(status).toMatchObject({ phase: 'Escalated', claim: { outcome: 'CannotFix', summary: `asked by ${name}` } });
  const calls = (await trail(lab.namespace, name)).filter(({ kind }) => kind === 'model_call');
  expect(calls).toMatchObject([{ params: { status: 200, turn: true } }]);
  return calls[0]?.params;
}

async function setGatewayEnv(variable: string): Promise<void> {
  await kubectl('-n', 'oplab-system', 'set', 'env', 'deployment/oplab-gateway', variable);
  await kubectl('-n', 'oplab-system', 'rollout', 'status', 'deployment/oplab-gateway', '--timeout=120s');
}

/** What `kubectl get agentclasses` shows of the way. */
const reachable = (pattern: RegExp) =>
  eventually(async () => ((await kubectl('get', 'agentclasses', 'default')).match(pattern) ? true : undefined), {
    withinMs: 60_000,
  });

it('a key as a bearer token', async () => {
  const { url, double } = await start(bearerWall(lab.modelKey));
  await lab.reinstall({ 'model.auth': 'bearer', 'model.baseURL': url });
  await openIncident('bearer');
  expect(double.verdicts).toContain(0);
  expect(double.requests.every(({ headers }) => headers['x-api-key'] === undefined)).toBe(true);
});

describe('Claude in Amazon Bedrock', () => {
  const rules = (keys: IssuedKeys['keys']) => ({ region: 'eu-west-1', service: 'bedrock-mantle', keys });
  const set = (url: string) => ({
    'model.provider': 'bedrock',
    'model.region': 'eu-west-1',
    'model.baseURL': `${url}/anthropic`,
    'model.apiKey.existingSecret': '',
    'model.priceFactor': '1.1',
    'agentClass.model': 'anthropic.claude-opus-5-5',
    'agentClass.summaryModel': 'anthropic.claude-haiku-5-5',
  });

  it('by an access key in a Secret, at the prices of its region', async () => {
    const key = randomBytes(20).toString('hex');
    const { url, double } = await start(bedrockWall(rules(new Map([['AKIALAB', { secret: key }]]))));
    const name = await secret('lab-model-aws', { 'access-key-id': 'AKIALAB', 'secret-access-key': key });
    await lab.reinstall({ ...set(url), 'model.auth': 'access-key', 'model.apiKey.existingSecret': name });
    const [input, output, write] = [z.number(), z.number(), z.number()];
    const call = z.looseObject({
      inputTokens: input,
      outputTokens: output,
      cacheWriteTokens: write,
      costMicroUSD: z.number(),
    });
    const used = call.parse(await openIncident('access-key'));
    const plain = 4 * used.inputTokens + 5 * used.cacheWriteTokens + 20 * used.outputTokens;
    expect(used.costMicroUSD).toBe(Math.ceil(Number((1.1 * plain).toFixed(6))));
    expect(double.verdicts).toEqual([0]);
    await reachable(/anthropic\.claude-opus-5-5 +Unknown +NotTold/);
  });

  it('by a role, for a token of the ServiceAccount of the gateway', async () => {
    const issued: IssuedKeys = { keys: new Map(), lifeMs: HOUR };
    const sts = await start(stsWall({ roleARN: ROLE, subject: SUBJECT, trusted, issued }));
    const { url, double } = await start(bedrockWall(rules(issued.keys)));
    const annotations = { 'gateway.serviceAccount.annotations.lab': 'on' };
    await lab.reinstall({ ...set(url), ...annotations, 'model.aws.roleARN': ROLE, 'model.aws.stsURL': sts.url });
    await openIncident('role');
    expect(double.verdicts).toEqual([0]);
    expect(new Set(sts.double.verdicts)).toEqual(new Set([200]));
    expect(await kubectl('-n', 'oplab-system', 'get', 'sa', 'oplab-gateway', '-o', 'yaml')).toContain('lab: "on"');
  });

  it('by a role that does not trust the gateway: the class and the Incident say so, and nothing is asked', async () => {
    const issued: IssuedKeys = { keys: new Map(), lifeMs: HOUR };
    const sts = await start(stsWall({ roleARN: ROLE, subject: 'somebody', trusted, issued }));
    const { url, double } = await start(bedrockWall(rules(issued.keys)));
    await lab.reinstall({ ...set(url), 'model.aws.roleARN': ROLE, 'model.aws.stsURL': sts.url });
    await lab.open('untrusted');
    const { status } = await lab.finished('untrusted');
    expect(status?.phase).toBe('Escalated');
    expect(JSON.stringify(status)).toContain('let the role trust the ServiceAccount oplab-gateway');
    expect(double.requests).toEqual([]);
    await reachable(/False +KeyRefused/);
  });

  it('by an API key of Bedrock', async () => {
    const wall = bearerWall(lab.modelKey);
    const { url, double } = await start((request) => {
      const verdict = wall(request);
      return 'status' in verdict ? verdict : { ...verdict, path: verdict.path.replace('/anthropic', '') };
    });
    const key = { 'model.auth': 'bearer', 'model.apiKey.existingSecret': 'lab-model-key' };
    await lab.reinstall({ ...set(url), ...key });
    await openIncident('bedrock-key');
    expect(double.verdicts).toEqual([0]);
  });
});

describe('Claude in Vertex AI', () => {
  const set = (url: string) => ({
    'model.provider': 'vertex',
    'model.region': 'europe-west1',
    'model.project': 'shop-1',
    'model.baseURL': url,
    'model.apiKey.existingSecret': '',
    'agentClass.model': 'claude-opus-4-5@20251101',
    'agentClass.summaryModel': 'claude-haiku-5-5',
  });
  const vertex = (issued: IssuedTokens) => vertexWall({ project: 'shop-1', region: 'europe-west1', issued });

  it('by a workload identity pool, for a token of the ServiceAccount of the gateway', async () => {
    const issued: IssuedTokens = { tokens: new Map(), lifeMs: HOUR };
    const google = await start(googleWall({ issued, pool: { audience: POOL, subject: SUBJECT, trusted } }));
    const { url, double } = await start(vertex(issued));
    const config = {
      ...{ type: 'external_account', audience: POOL, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
      ...{ token_url: `${google.url}/v1/token`, credential_source: { file: '/var/run/oplab/identity/token' } },
    };
    const name = await secret('lab-model-google', { 'credentials.json': JSON.stringify(config) });
    await lab.reinstall({
      ...set(url),
      'model.auth': 'credentials-file',
      'model.apiKey.existingSecret': name,
      'model.google.tokenAudience': POOL.replace('//', 'https://'),
    });
    await openIncident('pool');
    expect(double.verdicts).toEqual([0]);
    expect(new Set(google.double.verdicts)).toEqual(new Set([200]));
  });

  it('by the service account that the metadata server of the node gives', async () => {
    const issued: IssuedTokens = { tokens: new Map(), lifeMs: HOUR };
    const node = await start(googleWall({ issued, metadata: true }));
    const { url, double } = await start(vertex(issued));
    await lab.reinstall(set(url));
    // On GKE, the address of the metadata server leads to it.
    const metadata = `GCE_METADATA_HOST=${new URL(node.url).host}`;
    await setGatewayEnv(metadata);
    await openIncident('metadata');
    expect(double.verdicts).toEqual([0]);
    await setGatewayEnv('GCE_METADATA_HOST-');
  });
});

it('none of these credentials gets into a log, an event or a status', async () => {
  const seen = (
    await Promise.all([
      kubectl('-n', 'oplab-system', 'logs', 'deployment/oplab-gateway'),
      kubectl('-n', lab.namespace, 'get', 'incidents,events', '-o', 'yaml'),
      kubectl('get', 'agentclasses', '-o', 'yaml'),
      ...['bearer', 'access-key', 'role', 'pool', 'metadata'].map(async (name) =>
        JSON.stringify(await trail(lab.namespace, name)),
      ),
    ])
  ).join('\n');
  for (const { headers } of doubles.flatMap(({ requests }) => requests)) {
    const given = [headers.authorization, headers['x-amz-security-token'], headers['x-api-key']].flat();
    for (const one of given) {
      if (one === undefined) continue;
      const bare = one.replace(/^Bearer /, '');
      // The digest, so that a failure does not print what it protects.
      expect(seen.includes(bare), createHash('sha256').update(bare).digest('hex')).toBe(false);
    }
  }
});
