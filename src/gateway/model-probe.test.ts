// What the gateway knows about the models of a class before an Incident needs them.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { silentLogger } from '../../test/support/silent-logger.ts';
import { type AgentClass, agentClass } from '../api/agent-class.ts';
import type { NewKubeObject } from '../kube/client.ts';
import { ClassStatusWriter } from './class-status.ts';
import { DayQuota } from './day-quota.ts';
import { Connections } from './doors/model/connections.ts';
import { AnthropicProvider } from './doors/model/providers/anthropic.ts';
import { keyFile } from './doors/model/providers/credential.ts';
import { ModelUpstream } from './doors/model/upstream.ts';
import { ModelProbes } from './model-probe.ts';
import { pricesWith } from './prices.ts';

let server: Server;
let baseURL: URL;
let answer: (model: string, response: ServerResponse, request: IncomingMessage) => void;
const asked: string[] = [];
const json = (response: ServerResponse, status: number, body: unknown) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const refuse = (status: number, type: string, message: string) => (_model: string, response: ServerResponse) =>
  json(response, status, { type: 'error', error: { type, message } });

beforeAll(async () => {
  server = createServer((request, response) => {
    const [, model = ''] = /^\/anthropic\/v1\/models\/(.*)$/.exec(request.url ?? '') ?? [];
    asked.push(`${request.method} ${model}`);
    answer(decodeURIComponent(model), response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // Port of a TCP server, so never a string.
  baseURL = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/anthropic`);
});
afterAll(() => void server.close());
beforeEach(() => {
  asked.length = 0;
  answer = (model, response) => json(response, 200, { type: 'model', id: model });
});

function aClass(model: object = {}, ceilings: object = {}, name = 'default'): AgentClass {
  return agentClass.parse({
    apiVersion: 'oplab.dev/v1alpha1',
    kind: 'AgentClass',
    metadata: { name, uid: `uid-${name}`, generation: 3 },
    spec: { model, images: { agent: 'a', sandbox: 's' }, ceilings },
  });
}

function upstreamAt(url: URL) {
  const provider = new AnthropicProvider(
    keyFile(undefined, () => {}),
    'x-api-key',
  );
  return new ModelUpstream({ baseURL: url, provider, connections: new Connections({ environment: {} }) });
}

function probesOf(classes: AgentClass[], onChange = () => {}, url = baseURL) {
  const upstream = upstreamAt(url);
  const prices = pricesWith({ 'my/model': { input: 1, output: 1 }, free: { input: 0, output: 0 } });
  const redact = (text: string) => text.replaceAll('sk-secret', '[redacted]');
  const { signal } = new AbortController();
  return new ModelProbes({ upstream, prices, classes: () => classes, onChange, redact, signal });
}
async function stateOf(subject: AgentClass, url = baseURL) {
  const probes = probesOf([subject], () => {}, url);
  await probes.look();
  return probes.state(subject);
}

const LITELLM_KEY = { error: { message: 'No connected db.', type: 'no_db_connection', param: null, code: '400' } };

describe('a class', () => {
  it('is reachable if the API has all of its models, by their encoded names', async () => {
    const state = await stateOf(aClass({ name: 'my/model', summaryName: 'free', fallbackName: 'claude-opus-4-8' }));
    expect(state).toMatchObject({ status: 'True', reason: 'Reachable' });
    expect(asked).toEqual(['GET my%2Fmodel', 'GET free', 'GET claude-opus-4-8']);
  });

  it.each<[string, typeof answer, string, string]>([
    ['the key is refused', refuse(401, 'authentication_error', 'invalid x-api-key sk-secret'), 'False', 'KeyRefused'],
    ['the account is refused', refuse(402, 'billing_error', 'x'), 'False', 'AccountLimited'],
    ['there is no such model', refuse(404, 'not_found_error', 'model: x'), 'False', 'ModelUnknown'],
    [
      'there is no such model, as LiteLLM and vLLM say it',
      (model, response) =>
        json(response, 404, { detail: `The model \`${model}\` does not exist or is not accessible` }),
      'False',
      'ModelUnknown',
    ],
    ['LiteLLM does not know the key', (_, response) => json(response, 400, LITELLM_KEY), 'False', 'KeyRefused'],
    [
      'the page of a path that is missing names the model',
      (model, response) => json(response, 404, { message: `Cannot GET /v1/models/${model}` }),
      'Unknown',
      'NotTold',
    ],
    ['there is no such path', (_, response) => json(response, 404, { detail: 'Not Found' }), 'Unknown', 'NotTold'],
    ['the path is for others', (_, response) => json(response, 405, {}), 'Unknown', 'NotTold'],
    ['it is overloaded', refuse(529, 'overloaded_error', 'x'), 'Unknown', 'Busy'],
    ['it hangs up', (_, response) => response.destroy(), 'False', 'Unreachable'],
  ])('is not if %s', async (_what, how, status, reason) => {
    answer = how;
    const state = await stateOf(aClass());
    expect(state).toMatchObject({ status, reason });
    expect(state?.message).not.toContain('sk-secret');
    expect(state?.message).not.toBe('');
  });

  it('is not if nothing listens', async () => {
    expect(await stateOf(aClass(), new URL('http://127.0.0.1:1/'))).toMatchObject({ reason: 'Unreachable' });
  });

  it.each<[string, AgentClass, string]>([
    ['has a model without a price', aClass({ name: 'mine' }), 'NoPrice'],
    [
      'wants more output than its model makes',
      aClass({ name: 'claude-opus-4-5', maxOutputTokens: 128_000 }),
      'OutputTooLong',
    ],
    ['has a limit of cost below one call', aClass({}, { maxCostMilliUSD: 20 }), 'LimitTooLow'],
    ['has a limit of tokens below one call', aClass({}, { maxTokens: 5000 }), 'LimitTooLow'],
  ])('cannot be used if it %s, whatever the API says', async (_what, subject, reason) => {
    expect(await stateOf(subject)).toMatchObject({ status: 'False', reason });
  });

  it('says that the vendor is about to end its model', async () => {
    const state = await stateOf(aClass({ name: 'claude-sonnet-4-5' }));
    expect(state).toMatchObject({
      status: 'True',
      reason: 'EndOfLife',
      message: expect.stringContaining('2026-11-30'),
    });
  });
});

it('asks again when a class or the key is new, and not otherwise', async () => {
  const classes = [aClass()];
  const upstream = upstreamAt(baseURL);
  let key = 'first';
  const probes = new ModelProbes({
    upstream: { askModel: (model, until) => upstream.askModel(model, until), credentialDigest: async () => key },
    ...{ prices: pricesWith(undefined), classes: () => classes, onChange: () => {}, redact: String },
    signal: new AbortController().signal,
  });
  await probes.look();
  await probes.look();
  expect(asked).toHaveLength(2);
  classes.push(aClass({ name: 'claude-sonnet-5-5' }, {}, 'other'));
  await probes.look();
  expect(asked.slice(2)).toEqual(['GET claude-sonnet-5-5']);
  key = 'second';
  await probes.look();
  expect(asked).toHaveLength(6);
});

it('is written to the status of the class, beside its day, and with the time of the change', async () => {
  const written: NewKubeObject[] = [];
  const subject = aClass();
  const stop = new AbortController();
  const probes: ModelProbes = probesOf([subject], () => status.hurry());
  const status = new ClassStatusWriter({
    client: {
      apply: async (_resource: unknown, object: NewKubeObject) => {
        written.push(object);
        return { metadata: { name: 'default' } };
      },
    },
    ...{ quota: new DayQuota(), classes: () => [subject], logger: silentLogger(), signal: stop.signal },
    modelState: (one) => probes.state(one),
  });
  void status.run();
  expect(written).toEqual([]);
  await probes.look();
  await eventually(() => written.length > 0);
  stop.abort();
  expect(written[0]?.status).toEqual({
    conditions: [
      {
        type: 'ModelReachable',
        status: 'True',
        reason: 'Reachable',
        message: expect.stringContaining('claude-opus-5-5'),
        lastTransitionTime: expect.any(String),
        observedGeneration: 3,
      },
    ],
  });
});
