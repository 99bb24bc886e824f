// The gateway as a process: it starts from its environment, serves, shuts down cleanly, and reports
// what prevents a start.

import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { type GatewayHarness, startGatewayHarness } from '../support/gateway-harness.ts';

const root = path.join(import.meta.dirname, '../..');
let lab: GatewayHarness;
const children: ChildProcess[] = [];
beforeAll(async () => {
  lab = await startGatewayHarness();
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await lab?.close();
});

function gateway(environment: Record<string, string>) {
  const args = ['--disable-warning=ExperimentalWarning', path.join(root, 'src/main.ts'), 'gateway'];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, HOME: lab.dir, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      output += chunk;
    });
  }
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, exited, output: () => output };
}

const settings = () => ({
  KUBECONFIG: path.join(lab.dir, 'plane/kubeconfig'),
  OPLAB_ADMIN_SOCKET: path.join(lab.dir, 'process.sock'),
  OPLAB_AUDIT_KEY_FILE: path.join(lab.dir, 'hmac-key'),
  OPLAB_TLS_CERT_FILE: path.join(lab.dir, 'tls.crt'),
  OPLAB_TLS_KEY_FILE: path.join(lab.dir, 'tls.key'),
  OPLAB_SIGNING_KEY_FILE: path.join(lab.dir, 'signing.key'),
  // The gateway of the test has published its checkpoint in the other namespace.
  OPLAB_SYSTEM_NAMESPACE: 'oplab-elsewhere',
  ...{
    OPLAB_AGENT_PORT: '0',
    OPLAB_KUBE_PORT: '0',
    OPLAB_DOCKER_PORT: '0',
    OPLAB_READ_PORT: '0',
    OPLAB_HEALTH_PORT: '0',
  },
});

describe('oplab gateway', () => {
  it('serves, and shuts down cleanly on SIGTERM', async () => {
    const { mkdir } = await import('node:fs/promises');
    const dir = path.join(lab.dir, 'own');
    await mkdir(dir);
    const { child, exited, output } = gateway({ ...settings(), OPLAB_DATA_DIR: dir });
    const line = await eventually(
      () =>
        output()
          .split('\n')
          .find((text) => text.includes('the gateway is ready')),
      { withinMs: 30_000 },
    );
    const ports: { health: number } = JSON.parse(line);
    expect(await (await fetch(`http://127.0.0.1:${ports.health}/readyz`)).text()).toBe('ok\n');
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(output()).toContain('the gateway has stopped');
  });

  it('does not open a log that another gateway holds', async () => {
    const { exited, output } = gateway({ ...settings(), OPLAB_DATA_DIR: lab.dir });
    expect(await exited).toBe(1);
    expect(output()).toContain('OPLAB_AUDIT_UNAVAILABLE');
  });

  it('does not start with a file that is not a signing key', async () => {
    const { exited, output } = gateway({ ...settings(), OPLAB_SIGNING_KEY_FILE: path.join(lab.dir, 'api-key') });
    expect(await exited).toBe(2);
    expect(output()).toMatch(/OPLAB_SIGNING_KEY_FILE: .*api-key is not a valid private key in PEM.*openssl genpkey/);
  });

  it('does not start without a valid key of the audit log, and never prints what the file holds', async () => {
    const file = path.join(lab.dir, 'short-key');
    const { writeFile } = await import('node:fs/promises');
    await writeFile(file, 'deadbeefdeadbeef\n');
    const short = gateway({ ...settings(), OPLAB_DATA_DIR: lab.dir, OPLAB_AUDIT_KEY_FILE: file });
    expect(await short.exited).toBe(2);
    expect(short.output()).toContain('use 64 hexadecimal digits');
    expect(short.output()).not.toContain('deadbeef');
    const missing = gateway({ ...settings(), OPLAB_DATA_DIR: lab.dir, OPLAB_AUDIT_KEY_FILE: '/nonexistent' });
    expect(await missing.exited).toBe(2);
    expect(missing.output()).toContain('OPLAB_AUDIT_KEY_FILE');
  });

  it('names the invalid setting', async () => {
    const { exited, output } = gateway({ ...settings(), OPLAB_UPSTREAM_URL: 'ftp://elsewhere' });
    expect(await exited).toBe(2);
    expect(output()).toContain('OPLAB_UPSTREAM_URL');
  });
});
