// LiteLLM's proxy in front of a model. What LiteLLM 1.108.7 answered is recorded here; with OPLAB_LITELLM,
// the path of its program, the proxy itself stands between the gateway and a double of the API:
//   python3 -m venv /tmp/litellm && /tmp/litellm/bin/pip install 'litellm[proxy]' prisma
//   OPLAB_LITELLM=/tmp/litellm/bin/litellm npm run test:litellm

import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { runModelChain } from '../support/model-chain.ts';
import { type Answer, bearerWall } from '../support/provider-doubles.ts';
import { ProviderFixtures } from '../support/provider-fixtures.ts';
import { claim, expectClaimed, openWay, runThrough } from '../support/provider-session.ts';

const KEY = 'sk-litellm-master';
const MODEL = 'claude-opus-5-5';
const fixtures = new ProviderFixtures();
afterAll(() => fixtures.close());

/** How LiteLLM wraps an error of the model's API. */
const wrapped = (status: number, type: string, said: string): Answer => ({
  status,
  body: {
    type: 'error',
    error: { type, message: `litellm.${said}\n\nLiteLLM: model group '${MODEL}' failed with the error above.` },
  },
});
const own = (status: number, type: string, message: string): Answer => ({
  status,
  body: { error: { message, type, param: 'None', code: String(status) } },
});
const cooldown = wrapped(
  429,
  'rate_limit_error',
  'No deployments available for selected model, Try again in 5 seconds.',
);

/** A session that LiteLLM answers with these first, and then as the model does. */
async function answeredWith(...answers: readonly Answer[]) {
  const left = [...answers];
  const OPLAB_MODEL_KEY_FILE = await fixtures.file(KEY);
  return await runThrough({
    wall: (request) => left.shift() ?? bearerWall(KEY)(request),
    model: MODEL,
    settings: { OPLAB_MODEL_AUTH: 'bearer', OPLAB_MODEL_KEY_FILE },
  });
}

describe('what LiteLLM answered', () => {
  it.each<[string, Answer, string]>([
    ['that no key was sent', own(401, 'auth_error', 'Authentication Error, No api key passed in.'), 'KEY_REFUSED'],
    [
      'without a database, that it does not know the key',
      own(400, 'no_db_connection', 'No connected db.'),
      'KEY_REFUSED',
    ],
    [
      'that the vendor refuses its own key',
      wrapped(401, 'authentication_error', 'AuthenticationError: AnthropicException - {"error":"invalid x-api-key"}'),
      'KEY_REFUSED',
    ],
    [
      'that its account is empty',
      wrapped(400, 'invalid_request_error', 'BadRequestError: Your credit balance is too low to access the API.'),
      'ACCOUNT',
    ],
    [
      'that it has no such model',
      wrapped(400, 'invalid_request_error', `anthropic_messages: Invalid model name passed in model=${MODEL}.`),
      'UNKNOWN',
    ],
    ['that the vendor has no such model', wrapped(404, 'not_found_error', `NotFoundError: model: ${MODEL}`), 'UNKNOWN'],
  ])('%s ends the attempt at the first call', async (_what, answer, code) => {
    const { report, double } = await answeredWith(answer);
    expect(report).toMatchObject({ code: `OPLAB_MODEL_${code}` });
    expect(double.requests).toHaveLength(1);
  });

  it('that the context is full is judged as such', async () => {
    const full = 'ContextWindowExceededError: prompt is too long: 210000 tokens > 200000 maximum';
    const { report } = await answeredWith(...Array(5).fill(wrapped(400, 'invalid_request_error', full)));
    expect(report).toMatchObject({ code: 'OPLAB_CONTEXT_FULL' });
  });

  it.each([
    ['the overload of the vendor', wrapped(500, 'api_error', 'InternalServerError: Overloaded')],
    ['its own pause after errors', cooldown],
  ])('about %s is waited for', async (_what, answer) => {
    const result = await answeredWith(answer);
    expect(result.report).toBeUndefined();
    expect(result.double.verdicts).toEqual([answer.status, 0]);
    expect(result.charges.at(-1)).toMatchObject({ inputTokens: 900, turn: true });
  });
});

const program = process.env.OPLAB_LITELLM;

describe.skipIf(program === undefined)('LiteLLM itself', () => {
  let proxy: ChildProcess | undefined;
  afterAll(() => void proxy?.kill());

  async function start(modelURL: string): Promise<string> {
    const port = 18_770 + Math.floor(Math.random() * 200);
    const models = [MODEL, 'claude-haiku-5-5'].map((name) => ({
      model_name: name,
      litellm_params: { model: `anthropic/${name}`, api_base: modelURL, api_key: 'sk-ant-of-litellm' },
    }));
    // JSON is YAML.
    const config = { model_list: models, general_settings: { master_key: KEY } };
    const home = await fixtures.files({ 'config.yaml': JSON.stringify(config) });
    const args = ['--config', path.join(home, 'config.yaml'), '--host', '127.0.0.1', '--port', String(port)];
    proxy = spawn(program ?? '', args, {
      stdio: 'ignore',
      env: { ...process.env, LITELLM_LOCAL_MODEL_COST_MAP: 'True' },
    });
    const url = `http://127.0.0.1:${port}`;
    const isReady = async () => (await fetch(`${url}/health/liveliness`).catch(() => undefined))?.ok || undefined;
    await eventually(isReady, { withinMs: 120_000, everyMs: 500, what: 'LiteLLM to start' });
    return url;
  }

  it('carries a session: thinking, its signature, effort, cache marks and usage arrive as they were sent', async () => {
    const OPLAB_MODEL_KEY_FILE = await fixtures.file(KEY);
    const result = await runModelChain({
      replies: [claim],
      deadlineMs: 200_000,
      model: { effort: 'high', thinking: 'adaptive' },
      connect: async (modelURL) =>
        openWay({ OPLAB_UPSTREAM_URL: await start(modelURL), OPLAB_MODEL_AUTH: 'bearer', OPLAB_MODEL_KEY_FILE }),
    });
    expectClaimed(result);
    expect(result.headers[0]).toMatchObject({ 'x-api-key': 'sk-ant-of-litellm' });
    expect(result.headers[0]).not.toHaveProperty('authorization');
    expect(result.asked[0]).toMatchObject({
      thinking: { type: 'adaptive', display: 'summarized' },
      output_config: { effort: 'high' },
    });
    expect(JSON.stringify(result.asked[0])).toContain('cache_control');
  }, 240_000);
});
