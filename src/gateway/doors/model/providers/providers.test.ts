// Where each provider is asked, and in which form. The credentials are in credential.test.ts, whole sessions
// in test/contract/providers.test.ts.

import { describe, expect, it } from 'vitest';
import { parseEnvironment } from '../../../../environment.ts';
import { gatewayEnvironment } from '../../../environment.ts';
import { bedrockURL, signingService } from './bedrock.ts';
import { createModelAPI } from './create.ts';
import { keyFile } from './credential.ts';
import { VertexProvider, vertexURL } from './vertex.ts';

it.each([
  [bedrockURL('eu-west-1'), 'https://bedrock-mantle.eu-west-1.api.aws/anthropic'],
  [vertexURL('europe-west1'), 'https://europe-west1-aiplatform.googleapis.com/'],
  [vertexURL('us'), 'https://aiplatform.us.rep.googleapis.com/'],
  [vertexURL('eu'), 'https://aiplatform.eu.rep.googleapis.com/'],
  [vertexURL('global'), 'https://aiplatform.googleapis.com/'],
])('asks %s', (url, expected) => expect(url.href).toBe(expected));

it.each([
  ['bedrock-mantle.eu-west-1.api.aws', 'bedrock-mantle'],
  ['vpce-1.example.internal:8443', 'bedrock-mantle'],
  ['bedrock-runtime.eu-west-1.amazonaws.com', 'bedrock'],
  ['bedrock-runtime-fips.us-east-1.amazonaws.com', 'bedrock'],
])('signs a request to %s for the service %s', (host, service) => expect(signingService(host)).toBe(service));

describe('a call of Vertex AI', () => {
  const tokens = { current: async () => 't', replace: async () => undefined, digest: async () => undefined };
  const provider = new VertexProvider(tokens, 'my-project', 'eu');
  const prepare = (model: string, stream: boolean) =>
    provider.prepare({
      request: { model, stream },
      body: Buffer.from(
        JSON.stringify({ model, max_tokens: 5, messages: [{ role: 'user', content: 'a "model": x' }] }),
      ),
      beta: true,
      headers: { 'anthropic-version': '2026-10-21', 'anthropic-beta': 'b' },
    });
  const place = '/v1/projects/my-project/locations/eu/publishers/anthropic/models/';

  it('has the model in its path, the version in its body, and no mark of a beta', () => {
    const { path, headers, body } = prepare('claude-opus-5-5', false);
    expect(path).toBe(`${place}claude-opus-5-5:rawPredict`);
    expect(headers).toEqual({ 'anthropic-beta': 'b' });
    expect(JSON.parse(String(body))).toEqual({
      ...{ anthropic_version: 'vertex-2023-10-16', max_tokens: 5 },
      messages: [{ role: 'user', content: 'a "model": x' }],
    });
  });

  it.each(['../../x', 'a?b', 'a#b', 'a;b', 'a:b', 'a%2fb', 'a\r\nb'])(
    'cannot leave its path by the model %j',
    (model) => {
      const { path } = prepare(model, true);
      expect(path.startsWith(place)).toBe(true);
      expect(path.slice(place.length)).toMatch(/^[\w.%-]+:streamRawPredict$/);
    },
  );
});

it.each<[Record<string, string>, RegExp]>([
  [{ OPLAB_MODEL_PROVIDER: 'bedrock' }, /OPLAB_MODEL_REGION: must be set for provider bedrock, for example to/],
  [{ OPLAB_MODEL_PROVIDER: 'vertex', OPLAB_MODEL_REGION: 'eu' }, /OPLAB_MODEL_PROJECT: must be set/],
  [
    { OPLAB_MODEL_AUTH: 'access-key' },
    /OPLAB_MODEL_AUTH: access-key is not a way to authenticate to provider anthropic; use x-api-key/,
  ],
  [
    { OPLAB_MODEL_PROVIDER: 'bedrock', OPLAB_MODEL_REGION: 'eu-west-1', OPLAB_MODEL_AUTH: 'access-key' },
    /OPLAB_MODEL_SECRET_DIR: must be set/,
  ],
  [{ OPLAB_MODEL_PROVIDER: 'azure' }, /OPLAB_MODEL_PROVIDER/],
  [{ OPLAB_MODEL_REGION: 'evil.example/x' }, /OPLAB_MODEL_REGION/],
  [{ OPLAB_UPSTREAM_URL: 'https://me:s3cr3t@a.example' }, /^(?!.*s3cr3t).*OPLAB_UPSTREAM_URL: must have no user/],
  [{ OPLAB_UPSTREAM_URL: 'https://a.example/x?api-version=1' }, /OPLAB_UPSTREAM_URL: must have no user, query/],
  [{ OPLAB_UPSTREAM_URL: 'https://a.example/#x' }, /OPLAB_UPSTREAM_URL: must have no user, query or fragment/],
  [{ AWS_ENDPOINT_URL_STS: 'https://a.example?x' }, /AWS_ENDPOINT_URL_STS: must have no user, query/],
  // Node would not use it, but connect directly.
  [{ OPLAB_UPSTREAM_PROXY: 'socks5://me:s3cr3t@a.example' }, /^(?!.*s3cr3t).*OPLAB_UPSTREAM_PROXY/],
])('does not start with %j', (settings, message) => {
  expect(() => createModelAPI(parseEnvironment(gatewayEnvironment, settings), () => {})).toThrow(message);
});

it('uses no key if its file is missing or empty', async () => {
  expect(await keyFile('/nowhere/api-key', () => {}).current()).toBeUndefined();
  expect(await keyFile(undefined, () => {}).current()).toBeUndefined();
});
