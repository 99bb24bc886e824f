// The values of the chart about the way to the model: what they make of the gateway, and which are refused,
// without a cluster. test/e2e/model-ways.test.ts installs each way.

import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { parseEnvironment } from '../../src/environment.ts';
import { createModelAPI } from '../../src/gateway/doors/model/providers/create.ts';
import { gatewayEnvironment } from '../../src/gateway/environment.ts';
import { renderChart } from '../support/chart.ts';

const bedrock = { provider: 'bedrock', region: 'eu-west-1' };
const vertex = { provider: 'vertex', region: 'europe-west1', project: 'shop-1' };
const role = 'arn:aws:iam::111122223333:role/oplab';

const gateway = z.looseObject({
  spec: z.looseObject({
    template: z.looseObject({
      spec: z.looseObject({
        containers: z.array(z.looseObject({ env: z.array(z.object({ name: z.string(), value: z.string() })) })),
        volumes: z.array(z.looseObject({ name: z.string() })),
      }),
    }),
  }),
});

async function install(values: object) {
  const objects = await renderChart(values);
  const find = (kind: string, name: string) =>
    objects.find((object) => object.kind === kind && object.metadata.name === name);
  const { containers, volumes } = gateway.parse(find('Deployment', 'oplab-gateway')).spec.template.spec;
  const env = Object.fromEntries(containers.flatMap((one) => one.env).map(({ name, value }) => [name, value]));
  return { find, volumes, env };
}

describe('the chart', () => {
  it.each<[string, object]>([
    ['anthropic', {}],
    ['anthropic with a bearer token', { auth: 'bearer', baseURL: 'http://vllm.models.svc:8000' }],
    ['Bedrock with the role of the pod', bedrock],
    ['Bedrock with a role by token', { ...bedrock, aws: { roleARN: role, stsURL: 'https://sts.internal' } }],
    ['Bedrock with an access key', { ...bedrock, auth: 'access-key', apiKey: { existingSecret: 'aws' } }],
    ['Bedrock with an API key', { ...bedrock, auth: 'bearer', apiKey: { value: 'key' } }],
    ['Vertex AI with the service account of the pod', vertex],
    ['Vertex AI with a credential file', { ...vertex, auth: 'credentials-file', google: { tokenAudience: '//iam' } }],
  ])('gives the gateway what it needs for %s', async (_way, model) => {
    const { env } = await install({ model });
    expect(() => createModelAPI(parseEnvironment(gatewayEnvironment, env), () => {})).not.toThrow();
  });

  it.each([
    [{ ...bedrock, aws: { roleARN: role } }, 'sts.amazonaws.com'],
    [{ ...vertex, auth: 'credentials-file', google: { tokenAudience: '//iam' } }, '//iam'],
  ])('mounts a token of the ServiceAccount for the audience of the provider', async (model, audience) => {
    const { volumes } = await install({ model });
    expect(volumes.find(({ name }) => name === 'identity')).toMatchObject({
      projected: { sources: [{ serviceAccountToken: { path: 'token', audience } }] },
    });
  });

  it('mounts no token, and names no role, if the cloud does', async () => {
    const annotations = { 'eks.amazonaws.com/role-arn': role };
    const { volumes, env, find } = await install({ model: bedrock, gateway: { serviceAccount: { annotations } } });
    expect(volumes.map(({ name }) => name)).not.toContain('identity');
    expect(Object.keys(env).filter((name) => name.startsWith('AWS_'))).toEqual([]);
    expect(find('ServiceAccount', 'oplab-gateway')?.metadata.annotations).toEqual(annotations);
    expect(find('ServiceAccount', 'oplab-controller')?.metadata.annotations).toBeUndefined();
  });

  it.each([1.1, '1.1', 2])('takes the price factor %j as --set and values files write it', async (priceFactor) => {
    const { env } = await install({ model: { priceFactor } });
    expect(parseEnvironment(gatewayEnvironment, env).OPLAB_PRICE_FACTOR).toBe(Number(priceFactor));
  });

  it('uses the names that Bedrock has for the default models', async () => {
    const { find } = await install({ model: bedrock });
    expect(find('AgentClass', 'default')?.spec).toMatchObject({
      model: { name: 'anthropic.claude-opus-5-5', summaryName: 'anthropic.claude-haiku-5-5' },
    });
  });

  it.each([
    ['the agent of EKS Pod Identity', bedrock, ['169.254.170.23/32', 'fd00:ec2::23/128']],
    ['the metadata server of Google', vertex, ['169.254.169.254/32', '169.254.169.252/32']],
    ['no node for a role by token', { ...bedrock, aws: { roleARN: role } }, []],
    ['no node for a key', {}, []],
  ])('lets the gateway, and nobody else, reach %s', async (_what, model, nodes) => {
    const to = [{ cidr: '192.0.2.1/32', ports: [443] }];
    const objects = await renderChart({
      model,
      networkPolicy: { egress: { enabled: true, apiServer: to, model: to } },
    });
    const reaches = objects
      .filter(({ kind }) => kind === 'NetworkPolicy')
      .flatMap((policy) => {
        const blocks = JSON.stringify(policy).match(/(?:169\.254\.|fd00:ec2)[^"]*/g) ?? [];
        return blocks.map((cidr) => [policy.metadata.name, cidr]);
      });
    expect(reaches).toEqual(nodes.map((cidr) => ['oplab-gateway-egress', cidr]));
  });
});

describe('the chart refuses', () => {
  it.each<[string, object, RegExp]>([
    ['a provider that does not exist', { provider: 'azure' }, /model.*provider.*anthropic/s],
    ['Bedrock without a region', { provider: 'bedrock' }, /model\.region: is empty.*set it, for example to eu-west-1/],
    ['Vertex AI without a region', { provider: 'vertex', project: 'p' }, /model\.region: is empty.*europe-west1/],
    ['Vertex AI without a project', { provider: 'vertex', region: 'eu' }, /model\.project: is empty.*set it/],
    ['a password in the address', { baseURL: 'https://me:secret@a.example/x' }, /model.*baseURL/s],
    ['a query in the address', { baseURL: 'https://a.example/x?api-version=1' }, /model.*baseURL/s],
    ['a region that is none', { ...bedrock, region: 'EU West' }, /model.*region/s],
    ['a region for Anthropic', { region: 'eu-west-1' }, /model\.region: "eu-west-1" is of no use.*leave it out/],
    ['a project for Bedrock', { ...bedrock, project: 'p' }, /model\.project: "p" is of no use.*leave it out/],
    [
      'a way to authenticate that the provider does not have',
      { ...vertex, auth: 'x-api-key' },
      /model\.auth: "x-api-key" is not a way.*vertex; use workload-identity or credentials-file/,
    ],
    ['a role that is none', { ...bedrock, aws: { roleARN: 'oplab' } }, /model.*aws.*roleARN/s],
    ['a role beside a key', { ...bedrock, auth: 'bearer', aws: { roleARN: role } }, /model\.aws\.roleARN: .*no use/],
    ['an STS that nobody asks', { aws: { stsURL: 'https://sts' } }, /model\.aws\.stsURL: .*leave it out/],
    ['a token that nobody uses', { ...vertex, google: { tokenAudience: 'a' } }, /tokenAudience: "a" is of no use/],
    [
      'a key that nobody uses',
      { ...bedrock, apiKey: { existingSecret: 'mine' } },
      /model\.apiKey: is of no use.*set model\.auth to access-key or bearer/,
    ],
    [
      'one value for what needs several',
      { ...bedrock, auth: 'access-key', apiKey: { value: 'x' } },
      /model\.apiKey\.value: cannot hold.*model\.apiKey\.existingSecret/,
    ],
    ['a factor of nothing', { priceFactor: 0 }, /model.*priceFactor/s],
    ['a factor of nothing in a string', { priceFactor: '0.0' }, /model.*priceFactor/s],
    ['a factor that is no number', { priceFactor: '1.1x' }, /model.*priceFactor/s],
  ])('%s, and says what to do', async (_what, model, message) => {
    await expect(renderChart({ model })).rejects.toThrow(message);
  });

  it('another provider beside the rehearsal server', async () => {
    await expect(renderChart({ model: bedrock, rehearsal: { enabled: true } })).rejects.toThrow(
      /model\.provider: "bedrock" cannot be used with the rehearsal server; set rehearsal\.enabled to false/,
    );
  });

  it('one role in two places', async () => {
    const annotations = { 'eks.amazonaws.com/role-arn': role };
    const values = { model: { ...bedrock, aws: { roleARN: role } }, gateway: { serviceAccount: { annotations } } };
    await expect(renderChart(values)).rejects.toThrow(/model\.aws\.roleARN: .*leave out one of them/);
  });
});
