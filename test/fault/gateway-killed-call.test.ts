// A gateway is killed during a model call. The call has begun and will be billed, so it must not be
// forgotten.

import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import * as z from 'zod';
import { entry } from '../../src/audit/entry.ts';
import { eventually } from '../support/eventually.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const main = path.join(import.meta.dirname, '../../src/main.ts');
let lab: GatewayHarness;
/** Accepts every request and never answers. */
let silent: Server;
let asked = 0;
let child: ChildProcess | undefined;

beforeAll(async () => {
  lab = await startGatewayHarness();
  silent = createServer((request) => {
    request.resume();
    request.once('end', () => {
      asked += 1;
    });
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  child?.kill('SIGKILL');
  silent?.closeAllConnections();
  silent?.close();
  await lab?.close();
});

const port = z.number();
const serving = z.looseObject({ agent: port, kube: port, docker: port, read: port, health: port });

/** A gateway in a separate process, with the same log. */
async function startProcess(): Promise<void> {
  const address = silent.address();
  const started = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'gateway'], {
    env: {
      PATH: process.env.PATH,
      HOME: lab.dir,
      KUBECONFIG: path.join(lab.dir, 'plane/kubeconfig'),
      OPLAB_DATA_DIR: lab.dir,
      OPLAB_ADMIN_SOCKET: path.join(lab.dir, 'process.sock'),
      OPLAB_AUDIT_KEY_FILE: path.join(lab.dir, 'hmac-key'),
      OPLAB_TLS_CERT_FILE: path.join(lab.dir, 'tls.crt'),
      OPLAB_TLS_KEY_FILE: path.join(lab.dir, 'tls.key'),
      OPLAB_SIGNING_KEY_FILE: path.join(lab.dir, 'signing.key'),
      OPLAB_UPSTREAM_URL: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
      OPLAB_AGENT_PORT: '0',
      OPLAB_KUBE_PORT: '0',
      OPLAB_DOCKER_PORT: '0',
      OPLAB_READ_PORT: '0',
      OPLAB_HEALTH_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = started;
  let output = '';
  started.stdout.on('data', (chunk) => {
    output += chunk;
  });
  const line = await eventually(() => output.split('\n').find((text) => text.includes('the gateway is ready')), {
    withinMs: 60_000,
  });
  lab.gateway = { ...lab.gateway, ports: serving.parse(JSON.parse(line)) };
}

async function killProcess(): Promise<void> {
  const ended = new Promise((resolve) => child?.once('exit', resolve));
  child?.kill('SIGKILL');
  await ended;
}

it('is charged once at its upper bound by the next gateway', async () => {
  const attempt = await lab.open('killed', { maxTurns: 1 });
  await lab.stopGateway();
  await startProcess();
  const body = { model: 'claude-opus-5-5', max_tokens: 1000, messages: [] };
  const ask = () => lab.ask(attempt, 'POST', '/v1/messages', body);
  const call = ask().then(
    ({ status }) => status,
    () => 'cut off',
  );
  await eventually(() => (asked === 1 ? true : undefined));
  await killProcess();
  expect(await call).toBe('cut off');

  await startProcess();
  // The only turn is used up, so nothing goes to the model any more.
  expect((await ask()).status).toBe(429);
  expect(asked).toBe(1);
  const usage = await eventually(async () => {
    const { status } = await lab.incident('killed');
    return status?.usage?.limitReached === undefined ? undefined : status.usage;
  });
  // 1000 output tokens at $20 per million cost 20 thousandths of a dollar. The prompt is added to
  // that.
  expect(usage).toMatchObject({ turns: 1, modelCalls: 1, outputTokens: 1000, limitReached: 'turns' });
  expect(usage.costMilliUSD).toBeGreaterThanOrEqual(20);

  await killProcess();
  await startProcess();
  const page = await lab.read(`/api/v1/sessions/${attempt.session}/entries?limit=1000`);
  const { items } = z.looseObject({ items: z.array(entry) }).parse(page.json);
  const calls = items.filter(({ kind }) => kind === 'model_call');
  expect(calls).toHaveLength(1);
  expect(calls[0]).toMatchObject({ attempt: 1, writer: 'gateway', content: expect.stringContaining('upper bound') });
}, 180_000);
