// `oplab audit tail` with a real log behind the gateway's real read API, in this process and as a
// program of its own.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { CapturedOutput, commandLine, fakeEnvironment } from '../../test/support/fake-environment.ts';
import { openedEntry, sealEntry } from '../audit/lifecycle.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { InvalidInput, NotFound } from '../errors.ts';
import { LiveOutput } from '../gateway/live-output.ts';
import { createReadApi } from '../gateway/read-api/server.ts';
import { createLogger } from '../observability/logger.ts';
import { openGatewayReader } from './reader/gateway-reader.ts';

let directory: string;
let log: AuditStore;
let server: Server;
let port = 0;
let stopping: AbortController;
const captured = new CapturedOutput();
let connections: number;
const children: ChildProcess[] = [];

async function startGateway(): Promise<void> {
  stopping = new AbortController();
  const live = new LiveOutput((text) => text);
  server = createReadApi({ log, publicKey: '', live, logger: createLogger('test'), signal: stopping.signal });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
}
async function stopGateway(): Promise<void> {
  stopping.abort();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-tail-'));
  log = await openAuditLog({ path: path.join(directory, 'audit.db') });
  captured.clear();
  [port, connections] = [0, 0];
  await startGateway();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await stopGateway();
  await log.close();
  await rm(directory, { recursive: true, force: true });
});

const environment = fakeEnvironment({
  now: () => new Date(),
  output: captured.output,
  incidents: () => ({
    get: () => Promise.reject(new NotFound('there is none')),
    list: async () => [],
    create: async (wanted) => wanted,
  }),
  gateway: () =>
    openGatewayReader({
      connect: async () => {
        connections += 1;
        return { url: `http://127.0.0.1:${port}`, close: async () => undefined };
      },
      retryMs: 20,
    }),
});
const oplab = commandLine(environment);
const printed = (text: string) =>
  eventually(() => captured.stdout.includes(text), { what: `"${text}" in:\n${captured.stdout}` });

const open = (name: string, namespace = 'tikv', session = `id-${name}`) =>
  log.append({ session, attempt: 0, writer: 'gateway' }, openedEntry({ namespace, name, uid: session }, 'down'));
let serial = 0;
const say = (name: string, content: string, kind: 'reasoning' | 'tool_result' = 'reasoning') => {
  serial += 1;
  const by = { session: `id-${name}`, attempt: 1, writer: 'agent' } as const;
  return log.append(by, { clientKey: `k${serial}`, kind, content });
};
const seal = (name: string) =>
  log.seal({ session: `id-${name}`, attempt: 0, writer: 'gateway' }, sealEntry('Resolved'));
/** The numbers and Incidents of the entries in JSON lines. */
const shown = () =>
  captured.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map(({ incident, seq }) => `${incident.name} ${seq}`);

describe('audit tail of one session', () => {
  it('begins with the last entries, follows, and ends when the session is sealed', async () => {
    await open('one');
    for (let index = 1; index <= 12; index += 1) await say('one', `thought ${index}.`);
    const tailing = oplab('audit', 'tail', 'tikv/one');
    await printed('thought 12.');
    await say('one', 'a new thought');
    await printed('a new thought');
    await seal('one');
    await tailing;
    expect(captured.stdout).not.toContain('thought 2.');
    const numbers = [...captured.stdout.matchAll(/^ {2,3}(\d+) {2}/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
  });

  it.each([
    { args: ['--tail', '0'], expected: [] },
    { args: ['--tail', '2'], expected: ['one 3', 'one 4'] },
    { args: ['--tail', '-1'], expected: ['one 1', 'one 2', 'one 3', 'one 4'] },
    { args: ['--since', '1h'], expected: ['one 1', 'one 2', 'one 3', 'one 4'] },
    { args: ['--since', '1h', '--tail', '1'], expected: ['one 4'] },
    { args: ['--since', '0s'], expected: [] },
    { args: ['--kind', 'reasoning', '--tail', '1'], expected: ['one 3'] },
  ])('begins where $args says', async ({ args, expected }) => {
    await open('one');
    await say('one', 'a');
    await say('one', 'b');
    await seal('one');
    await new Promise((resolve) => setTimeout(resolve, 5));
    await oplab('audit', 'tail', 'tikv/one', '-o', 'json', ...args);
    expect(captured.stdout === '' ? [] : shown()).toEqual(expected);
  });

  it('misses and repeats nothing over a restart of the gateway', async () => {
    await open('one');
    const tailing = oplab('audit', 'tail', 'tikv/one', '-o', 'json');
    await printed('"seq":1');
    await stopGateway();
    for (const text of ['x', 'y', 'z']) await say('one', text);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await startGateway();
    await printed('"seq":4');
    await seal('one');
    await tailing;
    expect(shown()).toEqual(['one 1', 'one 2', 'one 3', 'one 4', 'one 5']);
    expect(captured.stderr).toContain('waiting: ');
  });

  it('waits with --keep for the next Incident of the name', async () => {
    await open('one');
    const tailing = oplab('audit', 'tail', 'tikv/one', '--keep', '-o', 'json');
    await seal('one');
    await printed('"seq":2');
    await open('other');
    await open('one', 'tikv', 'id-again');
    await printed('id-again');
    process.emit('SIGINT', 'SIGINT');
    await tailing;
    expect(shown()).toEqual(['one 1', 'one 2', 'one 1']);
    expect(process.exitCode).toBe(130);
    process.exitCode = undefined;
  });

  it('neutralizes what a terminal would execute, in text and in JSON', async () => {
    await open('one');
    await say('one', 'red \u001b[31mink\u009b2J\u202e');
    await seal('one');
    await oplab('audit', 'tail', 'tikv/one');
    expect(captured.stdout).toContain('red ink2J');
    await oplab('audit', 'tail', 'tikv/one', '-o', 'json');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not show
    expect(captured.stdout).not.toMatch(/[\u001b\u0080-\u009f\u202e]/);
    const [line = ''] = captured.stdout.split('\n').filter((text) => text.includes('"seq":2'));
    expect(JSON.parse(line).content).toBe('red \u001b[31mink\u009b2J\u202e');
  });

  it('reads a file, and ends', async () => {
    await open('one');
    await say('one', 'a');
    await log.close();
    const file = path.join(directory, 'audit.db');
    await oplab('audit', 'tail', '--file', file);
    expect(captured.stdout).toContain('tikv/one     2  ');
    captured.stdout = '';
    await oplab('audit', 'tail', 'one', '--file', file, '--tail', '1', '-o', 'json');
    expect(shown()).toEqual(['one 2']);
    log = await openAuditLog({ path: file });
  });

  it.each([
    [['tikv/one', '-A'], InvalidInput],
    [['--keep'], InvalidInput],
    [['tikv/one', '--keep', '--file', 'x.db'], InvalidInput],
    [['tikv/none'], NotFound],
  ])('refuses %j', async (args, error) => {
    await expect(oplab('audit', 'tail', ...args)).rejects.toBeInstanceOf(error);
  });
});

describe('audit tail of all sessions', () => {
  const until = async (text: string, tailing: Promise<unknown>) => {
    await printed(text);
    process.emit('SIGTERM', 'SIGTERM');
    await tailing;
    process.exitCode = undefined;
  };

  it('follows those of the namespace that are not sealed, and every new one from its beginning', async () => {
    for (const name of ['one', 'two', 'done']) await open(name);
    await open('elsewhere', 'other');
    await seal('done');
    const tailing = oplab('audit', 'tail', '-n', 'tikv', '-o', 'json');
    await printed('"seq":1');
    await open('three');
    await say('three', 'a');
    await seal('three');
    await say('two', 'b');
    await open('hidden', 'other');
    await open('last');
    await until('"last"', tailing);
    const all = shown();
    expect([...new Set(all)].sort()).toEqual(['last 1', 'one 1', 'three 1', 'three 2', 'three 3', 'two 1', 'two 2']);
    expect(all).toHaveLength(7);
  });

  it('names the Incident before each line, with its namespace if there are several', async () => {
    await open('one');
    await open('two', 'other');
    const tailing = oplab('audit', 'tail', '-A');
    await until('other/two', tailing);
    for (const line of captured.stdout.trim().split('\n')) expect(line).toMatch(/^(tikv\/one|other\/two) {2}/);
  });

  it('shows sealed sessions as well that have entries since', async () => {
    await open('done');
    await seal('done');
    await open('one');
    const tailing = oplab('audit', 'tail', '-n', 'tikv', '--since', '1h', '-o', 'json');
    await until('"one"', tailing);
    expect(shown()).toEqual(['done 1', 'done 2', 'one 1']);
  });

  it('misses and repeats nothing over a restart, also of sessions that open meanwhile', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) await open(name);
    const tailing = oplab('audit', 'tail', '-n', 'tikv', '-o', 'json');
    for (const name of names) await printed(`"name":"${name}"`);
    const before = connections;
    for (let restart = 1; restart <= 3; restart += 1) {
      await stopGateway();
      for (const name of names) await say(name, `during ${restart}`);
      await open(`new${restart}`);
      await new Promise((resolve) => setTimeout(resolve, 60));
      await startGateway();
      await printed(`"name":"new${restart}"`);
      await eventually(() => shown().filter((one) => one.endsWith(` ${restart + 1}`)).length >= names.length);
    }
    await until('new3', tailing);
    const all = shown();
    expect(new Set(all).size).toBe(all.length);
    expect(all).toHaveLength(names.length * 4 + 3);
    expect(connections).toBeGreaterThan(before);
  });

  it('uses one connection, which no session closes under the others', async () => {
    const closed: number[] = [];
    let opened = 0;
    let broken = 0;
    const nobody = createServer((request, response) => {
      broken += 1;
      if (broken <= 4) request.socket.destroy();
      else response.end('{"items":[]}');
    });
    nobody.listen(0, '127.0.0.1');
    await once(nobody, 'listening');
    const address = nobody.address();
    const reader = openGatewayReader({
      retryMs: 5,
      connect: async () => {
        opened += 1;
        const id = opened;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return {
          url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
          close: async () => void closed.push(id),
        };
      },
    });
    await Promise.all(['a', 'b', 'c', 'd'].map((id) => reader.entries(id)));
    expect([opened, closed]).toEqual([2, [1]]);
    await reader.close();
    nobody.close();
  });
});

describe('audit tail as a program', { timeout: 60_000 }, () => {
  const main = path.join(import.meta.dirname, '../main.ts');
  const run = (...args: string[]) => {
    const child = spawn(process.execPath, [main, 'audit', 'tail', '--gateway', `http://127.0.0.1:${port}`, ...args], {
      env: { HOME: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    child.stderr.on('data', (data: Buffer) => {
      captured.stderr += data.toString();
    });
    return child;
  };

  it('ends with 130 on Ctrl-C, and says nothing', async () => {
    await open('one');
    const child = run('-n', 'tikv');
    child.stdout.once('data', () => child.kill('SIGINT'));
    expect(await once(child, 'exit')).toEqual([130, null]);
    expect(captured.stderr).toBe('');
  });

  it('ends quietly when its reader has gone', async () => {
    await open('one');
    const child = run('-n', 'tikv');
    child.stdout.once('data', () => child.stdout.destroy());
    const ended = once(child, 'exit');
    const writing = setInterval(() => void say('one', 'more'), 50);
    expect(await ended).toEqual([0, null]);
    clearInterval(writing);
    expect(captured.stderr).toBe('');
  });
});
