// The shell server over its socket: one command at a time, streamed, and ended with its caller.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, unlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createSandbox, SandboxLost, SandboxStalled } from '../agent/sandbox-client.ts';
import { kubeconfig } from './kubeconfig.ts';
import { commandEnvironment } from './process.ts';
import type { ExecEvent } from './protocol.ts';
import { probeShellServer, type ShellServer, startShellServer } from './shell-server.ts';

let home: string;
let socketPath: string;
let server: ShellServer;
const never = new AbortController().signal;

beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oplab-server-'));
  socketPath = path.join(home, 'shell.sock');
  server = await start();
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true, force: true });
});

function start(): Promise<ShellServer> {
  return startShellServer({
    socketPath,
    shellEnvironment: {
      environment: commandEnvironment(home, process.env.PATH ?? '', path.join(home, 'kubeconfig')),
      directory: home,
      wholeContainer: false,
    },
    isolation: async () => ({ probes: [], closed: true, waitedMs: 0 }),
  });
}

const alive = (text: string) =>
  execFileSync('ps', ['-eo', 'stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(text) && !line.startsWith('Z'));

async function until(condition: () => boolean | Promise<boolean>, ms = 8000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) if (await condition()) return true;
  return false;
}

it.each([
  ['killed', 'sleep 40.125', true],
  ['finished', 'true', false],
])('ends a command whose caller was killed, and says what became of it: %s', async (state, command, isLong) => {
  const sandbox = createSandbox(socketPath);
  const caller = new AbortController();
  const run = sandbox
    .exec({ id: 'c', command, timeoutSeconds: 60 }, () => undefined, caller.signal)
    .catch(() => undefined);
  if (isLong) expect(await until(() => alive('sleep 40.125').length > 0)).toBe(true);
  else await run;
  // A caller that was killed closes its socket; one that hangs does not.
  if (isLong) caller.abort();
  expect(await sandbox.end('c', never)).toBe(state);
  expect(alive('sleep 40.125')).toEqual([]);
  expect(await sandbox.end('another', never)).toBe('unknown');
});

it('ends a command whose caller is still there', async () => {
  const sandbox = createSandbox(socketPath);
  const run = sandbox.exec({ id: 'c', command: 'sleep 40.25', timeoutSeconds: 60 }, () => undefined, never);
  expect(await until(() => alive('sleep 40.25').length > 0)).toBe(true);
  expect(await sandbox.end('c', never)).toBe('killed');
  expect(alive('sleep 40.25')).toEqual([]);
  expect(await run).toMatchObject({ signal: expect.stringMatching(/^SIG/) });
});

it('streams what happens and ends with the exit', async () => {
  const events: ExecEvent[] = [];
  const exit = await createSandbox(socketPath).exec(
    { id: 'a', command: 'echo hello', timeoutSeconds: 10 },
    (event) => events.push(event),
    never,
  );
  expect(events.map((event) => event.type)).toEqual(['started', 'chunk', 'exit']);
  expect(exit).toMatchObject({ exitCode: 0, stdout: 'hello\n' });
});

it('runs one command at a time', async () => {
  const sandbox = createSandbox(socketPath);
  const run = (id: string) =>
    sandbox.exec(
      { id, command: 'echo in >> log; sleep 0.3; echo out >> log', timeoutSeconds: 10 },
      () => undefined,
      never,
    );
  await Promise.all([run('a'), run('b')]);
  expect(await readFile(path.join(home, 'log'), 'utf8')).toBe('in\nout\nin\nout\n');
});

it('ends the command when its caller goes away, and then takes the next one', async () => {
  const mark = `94${process.pid}5`;
  const stop = new AbortController();
  const running = createSandbox(socketPath).exec(
    { id: 'a', command: `setsid sleep ${mark} & sleep ${mark}`, timeoutSeconds: 60 },
    () => undefined,
    stop.signal,
  );
  expect(await until(() => alive(mark).length >= 3)).toBe(true);
  stop.abort();
  await expect(running).rejects.toThrow();
  expect(await until(() => alive(mark).length === 0)).toBe(true);
  const next = await createSandbox(socketPath).exec(
    { id: 'b', command: 'echo next', timeoutSeconds: 10 },
    () => undefined,
    never,
  );
  expect(next.stdout).toBe('next\n');
});

it('refuses a request that it does not understand', async () => {
  const sandbox = createSandbox(socketPath);
  await expect(sandbox.exec({ id: '', command: 'true', timeoutSeconds: 10 }, () => undefined, never)).rejects.toThrow(
    'rejected',
  );
});

it('answers the probe only while it is there', async () => {
  expect(await probeShellServer(socketPath)).toBe(true);
  await server.close();
  expect(await probeShellServer(socketPath)).toBe(false);
  server = await start();
});

it('puts its socket back when a command has removed it', async () => {
  await unlink(socketPath);
  expect(
    await until(() =>
      stat(socketPath).then(
        () => true,
        () => false,
      ),
    ),
  ).toBe(true);
  expect(await until(() => probeShellServer(socketPath))).toBe(true);
});

it('is reported as lost when it dies under a command, and waited for until it is back', async () => {
  const sandbox = createSandbox(socketPath);
  // The bash is told to kill its parent's connection by ending the server.
  const running = sandbox
    .exec({ id: 'a', command: 'sleep 30', timeoutSeconds: 60 }, () => undefined, never)
    .catch((error: unknown) => error);
  await sleep(300);
  await server.close();
  const outcome = await running;
  // A server that is closed in an orderly way still reports; one that is killed cannot.
  expect(
    outcome instanceof SandboxLost || (typeof outcome === 'object' && outcome !== null && 'signal' in outcome),
  ).toBe(true);
  const waiting = sandbox.exec({ id: 'b', command: 'echo back', timeoutSeconds: 10 }, () => undefined, never);
  await sleep(300);
  server = await start();
  expect((await waiting).stdout).toBe('back\n');
});

it('is given up when a command freezes it, and its time limit with it', async () => {
  // What `kill -STOP $PPID` does: the server takes the command and reports nothing any more.
  const frozen = path.join(path.dirname(socketPath), 'frozen.sock');
  const silent = createServer((_request, response) => {
    response.writeHead(200).write(`${JSON.stringify({ type: 'started', time: new Date().toISOString() })}\n`);
  });
  await new Promise<void>((resolve) => silent.listen(frozen, resolve));
  const started: string[] = [];
  const outcome = createSandbox(frozen, 500).exec(
    { id: 'a', command: 'kill -STOP $PPID', timeoutSeconds: 1 },
    (event) => started.push(event.type),
    never,
  );
  await expect(outcome).rejects.toThrow(SandboxStalled);
  expect(started).toEqual(['started']);
  silent.closeAllConnections();
  await new Promise((resolve) => silent.close(resolve));
});

it('writes a kubeconfig that holds no secret', () => {
  const text = kubeconfig({
    server: 'https://gateway:6443',
    certificateAuthorityFile: '/etc/oplab/ca/ca.crt',
    tokenFile: '/var/run/secrets/oplab/token',
    namespace: 'tikv',
  });
  expect(text).toContain('tokenFile: /var/run/secrets/oplab/token');
  expect(text).toContain('namespace: tikv');
  expect(text).not.toMatch(/\btoken: /);
});

it('a command that really freezes its server gets no more time than its limit and the grace', async () => {
  const other = path.join(home, 'frozen.sock');
  const module = path.join(import.meta.dirname, 'shell-server.ts');
  const shellEnvironment = { environment: { PATH: process.env.PATH }, directory: home, wholeContainer: false };
  const program =
    `import { startShellServer } from ${JSON.stringify(module)};` +
    `await startShellServer({ socketPath: ${JSON.stringify(other)}, shellEnvironment: ${JSON.stringify(shellEnvironment)} });`;
  const frozen = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  try {
    const sandbox = createSandbox(other, 500);
    await sandbox.ready(AbortSignal.timeout(20_000));
    const started = performance.now();
    const command = 'kill -STOP $PPID; echo frozen > frozen; sleep 60';
    await expect(sandbox.exec({ id: 'a', command, timeoutSeconds: 1 }, () => undefined, never)).rejects.toThrow(
      SandboxStalled,
    );
    expect(performance.now() - started).toBeLessThan(5000);
    expect(await readFile(path.join(home, 'frozen'), 'utf8')).toBe('frozen\n');
  } finally {
    frozen.kill('SIGKILL');
  }
});
