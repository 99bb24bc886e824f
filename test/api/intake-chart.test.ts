// The controller as the chart starts it, with the chart's rights and settings: an alert comes in,
// an Incident follows, a message goes out.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { json } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFailed, onTestFinished } from 'vitest';
import { parse, stringify } from 'yaml';
import * as z from 'zod';
import { openRequest } from '../../src/net/request.ts';
import { type ApiServer, SYSTEM, startApiServer } from '../support/api-server.ts';
import { ADMISSION_KINDS, applyChart, createToken, renderChart } from '../support/chart.ts';
import { eventually } from '../support/eventually.ts';
import { IncidentProbe } from '../support/incident-probe.ts';
import { incidentsIn } from '../support/intake-harness.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { TestReceiver } from '../support/receiver.ts';

const root = path.join(import.meta.dirname, '../..');
const VALUES = {
  intake: {
    routes: [
      {
        name: 'disks',
        match: { alertname: '/Disk.*/' },
        namespace: '{{ $labels.namespace }}',
        namespaces: ['disks'],
        prometheus: { service: 'prometheus', port: 9090 },
        limits: { maxTurns: 5 },
        suspend: true,
      },
    ],
  },
  notifications: [{ name: 'chat', type: 'slack', events: ['Resolved'], urlFrom: { secret: 'chat', key: 'url' } }],
};

let server: ApiServer;
let folder: string;
let child: ChildProcess | undefined;
const receiver = new TestReceiver();

beforeAll(async () => {
  server = await startApiServer();
  await applyChart(server, ADMISSION_KINDS);
  await receiver.start();
  folder = await mkdtemp(path.join(tmpdir(), 'oplab-chart-'));
}, 300_000);
afterAll(async () => {
  child?.kill('SIGKILL');
  await receiver.stop();
  await rm(folder, { recursive: true, force: true });
  await server?.stop();
});

/** What the chart renders with these values. */
async function render(values: object) {
  const objects = await renderChart(values);
  return (kind: string, name: string) => objects.find((one) => one.kind === kind && one.metadata.name === name);
}

const deployment = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        containers: z.tuple([
          z.object({
            env: z.array(z.object({ name: z.string(), value: z.string().optional() })),
            volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })),
          }),
        ]),
        volumes: z.array(z.looseObject({ name: z.string() })),
      }),
    }),
  }),
});

/** What the process logs once the intake listens. */
function findListening(output: string): { port: number } | undefined {
  const line = output.split('\n').find((text) => text.includes('the intake is listening'));
  return line === undefined ? undefined : z.object({ port: z.number() }).parse(JSON.parse(line));
}

it('an alert becomes an Incident, and its end a message', async () => {
  const found = await render(VALUES);
  const { containers, volumes } = deployment.parse(found('Deployment', 'oplab-controller')).spec.template.spec;
  const config = z.record(z.string(), z.string()).parse(found('ConfigMap', 'oplab-controller')?.data);
  const decode = (data: unknown, key: string) =>
    Buffer.from(z.record(z.string(), z.string()).parse(data)[key] ?? '', 'base64').toString();
  const token = decode(found('Secret', 'oplab-intake-tokens')?.data, 'disks');
  const tls = (key: string) => decode(found('Secret', 'oplab-intake-tls')?.data, key);
  // As the kubelet would mount them.
  const files: Record<string, string> = {
    ...Object.fromEntries(Object.entries(config).map(([name, text]) => [`/etc/oplab/controller/${name}`, text])),
    '/etc/oplab/intake/disks': token,
    '/etc/oplab/intake-tls/tls.crt': tls('tls.crt'),
    '/etc/oplab/intake-tls/tls.key': tls('tls.key'),
    '/etc/oplab/tripwires/key': 'k'.repeat(64),
    '/etc/oplab/receivers/chat': receiver.nextUrl().href,
  };
  const mounted = containers[0].volumeMounts.map(({ mountPath }) => mountPath);
  for (const [file, text] of Object.entries(files)) {
    expect(mounted).toContain(path.dirname(file));
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await writeFile(path.join(folder, file), text);
  }
  expect(volumes.find(({ name }) => name === 'intake-tokens')).toMatchObject({
    projected: { sources: [{ secret: { name: 'oplab-intake-tokens', items: [{ key: 'disks', path: 'disks' }] } }] },
  });
  expect(volumes.find(({ name }) => name === 'receivers')).toMatchObject({
    projected: { sources: [{ secret: { name: 'chat', items: [{ key: 'url', path: 'chat' }] } }] },
  });
  const env = Object.fromEntries(
    containers[0].env.map(({ name, value = '' }) => [
      name,
      value.startsWith('/etc/') ? path.join(folder, value) : value,
    ]),
  );

  const kubeconfig = parse(await readFile(server.kubeconfig, 'utf8'));
  kubeconfig.users[0].user = { token: await createToken(server, SYSTEM, 'oplab-controller') };
  await writeFile(path.join(folder, 'kubeconfig'), stringify(kubeconfig));
  child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', path.join(root, 'src/main.ts'), 'controller'],
    {
      env: {
        ...env,
        PATH: process.env.PATH,
        HOME: folder,
        KUBECONFIG: path.join(folder, 'kubeconfig'),
        OPLAB_IDENTITY: 'chart-test',
        OPLAB_HEALTH_PORT: '0',
        OPLAB_INTAKE_PORT: '0',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      output += chunk;
    });
  }
  onTestFailed(() => console.log(output));
  const { port } = await eventually(async () => findListening(output));

  const home = 'disks';
  await server.client.create(NAMESPACES, { metadata: { name: home } });
  const send = async (alert: object) => {
    const request = openRequest({
      url: new URL(`https://127.0.0.1:${port}/webhook/disks`),
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      tls: { ca: tls('ca.crt'), servername: `oplab-intake.${SYSTEM}.svc` },
    });
    request.body.end(
      JSON.stringify({
        summary: 'the disk is full',
        labels: { alertname: 'DiskFull', namespace: home },
        ...alert,
      }),
    );
    const response = await request.receiveResponse();
    expect(await json(response)).toMatchObject({ alerts: [{ route: 'disks' }] });
    expect(response.statusCode).toBe(200);
  };
  await send({ startsAt: '2026-03-01T12:00:00Z' });
  const [incident] = await incidentsIn(server.client, home);
  expect(incident?.spec).toMatchObject({ suspend: true, limits: { maxTurns: 5 }, summary: 'the disk is full' });
  await send({ status: 'resolved', endsAt: '2026-03-01T12:10:00Z' });
  const probe = new IncidentProbe(server.client, home, incident?.metadata.name ?? '');
  await probe.spec({ suspend: false });
  await probe.seal();
  const notified = await probe.until('notified', ({ status }) => status?.notifications?.[0]?.state === 'Sent');
  expect(notified.status).toMatchObject({
    phase: 'Resolved',
    notifications: [{ receiver: 'chat', event: 'Resolved' }],
  });
  expect(receiver.received).toHaveLength(1);
  expect(receiver.received[0]?.body).toContain('Resolved: the disk is full');

  const exited = new Promise((resolve) => child?.once('exit', resolve));
  child.kill('SIGTERM');
  expect(await exited).toBe(0);
  // Neither the token nor the URL of the receiver is in the log.
  expect(output).not.toContain(token);
  expect(output).not.toContain('SECRET');
}, 120_000);

describe('the process with settings that the chart would refuse', () => {
  const main = path.join(root, 'src/main.ts');
  const start = async (routes: object[]) => {
    const file = path.join(folder, 'broken.json');
    await writeFile(file, JSON.stringify({ routes }));
    return {
      PATH: process.env.PATH,
      KUBECONFIG: server.kubeconfig,
      OPLAB_INTAKE_ROUTES_FILE: file,
      OPLAB_INTAKE_PORT: '0',
      OPLAB_HEALTH_PORT: '0',
    };
  };
  const good = { name: 'good', namespace: 'n', prometheus: { service: 'p' } };

  it('disables a route that cannot work, names its field, and serves the others', async () => {
    const env = await start([{ ...good, name: 'bad', match: { a: '/(/' } }, good]);
    const tokens = await mkdtemp(path.join(folder, 'tokens-'));
    for (const name of ['good', 'bad']) await writeFile(path.join(tokens, name), `token-of-${name}`);
    const running = spawn(process.execPath, [main, 'controller'], {
      env: { ...env, OPLAB_INTAKE_PLAIN_HTTP: 'true', OPLAB_INTAKE_TOKENS_FOLDER: tokens },
    });
    onTestFinished(() => void running.kill('SIGKILL'));
    let output = '';
    running.stdout.on('data', (chunk) => {
      output += chunk;
    });
    const { port } = await eventually(async () => findListening(output));
    expect(output).toMatch(/"route":"bad".*routes\[0\]\.match\.a/);
    const post = (name: string) =>
      fetch(`http://127.0.0.1:${port}/webhook/${name}`, {
        method: 'POST',
        headers: { authorization: `Bearer token-of-${name}` },
        body: '[]',
      });
    expect((await post('good')).status).toBe(200);
    expect((await post('bad')).status).toBe(503);
  });

  it('serves plain HTTP only if told to', async () => {
    const env = await start([good]);
    const failure = await promisify(execFile)(process.execPath, [main, 'controller'], { env, timeout: 30_000 }).then(
      () => undefined,
      (error: unknown) => z.object({ code: z.number(), stderr: z.string() }).parse(error),
    );
    expect(failure?.code).toBe(2);
    expect(failure?.stderr).toContain('OPLAB_INTAKE_TLS_FOLDER');
  });
});
