// The bundles as they are shipped: what holds in the source tree also holds in dist/.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import type { Metafile } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openedEntry } from '../src/audit/lifecycle.ts';
import { openAuditLog } from '../src/audit/store.ts';
import { buildBundles } from './build.ts';

let directory: string;
let metafile: Metafile;
const at = (name: string) => path.join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-dist-'));
  metafile = await buildBundles(at('dist'));
}, 120_000);
afterAll(() => rm(directory, { recursive: true, force: true }));

/** Runs Node with a program of dist/ and nothing of the user's own. */
async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, args, {
    cwd: directory,
    env: { HOME: directory, TERM: 'xterm' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, stdout, stderr };
}
const oplab = (...args: string[]) => run(at('dist/main.mjs'), ...args);

/** A log in which one entry was changed after it was written. */
async function tamperedLog(): Promise<string> {
  const gateway = { session: '6f1c0f5e-58a2-4c0e-9d1a-2f4f3c0b7a11', attempt: 0, writer: 'gateway' } as const;
  const log = await openAuditLog({ path: at('audit.db') });
  await log.append(
    gateway,
    openedEntry({ namespace: 'tikv', name: 'store-down', uid: gateway.session }, 'a store is gone'),
  );
  await log.close();
  const db = new DatabaseSync(at('audit.db'));
  db.exec("DROP TRIGGER entries_no_update; UPDATE entries SET content = 'all is well'");
  db.close();
  return at('audit.db');
}

// Each run loads the whole program anew, several at once: a busy machine takes its time.
describe('the command line of dist/', { timeout: 60_000 }, () => {
  it('ends with the code of each failure, and names it', async () => {
    const file = await tamperedLog();
    const failures: [string[], number, string][] = [
      [['audit', 'verify'], 2, 'OPLAB_INVALID_INPUT: name an Incident'],
      [['incident', 'create', '-f', 'nowhere.yaml'], 2, 'OPLAB_INVALID_INPUT: -f: nowhere.yaml'],
      [['top'], 2, 'OPLAB_NOT_A_TERMINAL: '],
      [['audit', 'show', 'nope', '--file', file], 3, 'OPLAB_NOT_FOUND: '],
      [['audit', 'verify', '--file', file], 4, 'OPLAB_VERIFICATION_FAILED: '],
      [['audit', 'list', '--gateway', 'http://127.0.0.1:1'], 2, 'OPLAB_INVALID_INPUT: --gateway http://127.0.0.1:1: '],
      [['audit', 'list', '--gateway', 'http://127.0.0.1:2'], 1, 'OPLAB_GATEWAY_UNREACHABLE: '],
    ];
    const seen = await Promise.all(failures.map(([args]) => oplab(...args)));
    expect(seen.map(({ code }) => code)).toEqual(failures.map(([, code]) => code));
    for (const [index, [, , message]] of failures.entries()) expect(seen[index]?.stderr).toContain(`oplab: ${message}`);
  });

  it('tells its version, as a command and as a flag', async () => {
    const [command, flag, short] = await Promise.all([oplab('version'), oplab('--version'), oplab('-V')]);
    expect(command.stdout).toMatch(/^oplab \d+\.\d+\.\d+ \(node 24\./);
    expect(flag).toEqual({ ...command, code: 0 });
    expect(short).toEqual(flag);
  });

  it('checks the CEL of a check with the worker beside it', async () => {
    const create = ['incident', 'create', 'a', '-n', 'x', '--summary', 's', '--dry-run', 'client', '-o', 'name'];
    const [well, ill] = await Promise.all(
      ['status == 200', 'status === 200'].map((cel) => oplab(...create, '--http-check', `up=pd:80 ${cel}`)),
    );
    expect(well).toEqual({ code: 0, stdout: 'incident.oplab.dev/a\n', stderr: expect.any(String) });
    expect(ill).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('OPLAB_INVALID_INPUT: spec.verify.checks[0]'),
    });
  });

  it('says in one line what is wrong with its words', async () => {
    const seen = await Promise.all([oplab('nope'), oplab('audit', 'lst'), oplab('audit', 'prune')]);
    for (const { code, stdout, stderr } of seen) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(/^oplab: OPLAB_INVALID_INPUT: [^\n]+ \(use --help for more information\)\n$/);
    }
    expect(seen[1].stderr).toContain("unknown command 'lst' (Did you mean one of list, ls?)");
  });

  it('says in one line that its output cannot be written', async () => {
    const words = ['-c', '"$0" "$@" > /dev/full', process.execPath, at('dist/main.mjs'), 'version'];
    const child = spawn('sh', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    expect(await text(child.stderr)).toMatch(/^oplab: the output cannot be written: ENOSPC[^\n]+\n$/);
    expect(await ended).toBe(1);
  });

  it('prints YAML', async () => {
    const create = ['incident', 'create', 'a', '-n', 'x', '--summary', 's', '--dry-run', 'client'];
    expect(await oplab(...create, '--http-check', 'up=pd:80 status == 200')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('\nkind: Incident\nmetadata:\n  name: a\n'),
    });
  });

  it('makes no home for a user who has none', async () => {
    const words = ['-c', 'HOME=nobody "$0" "$@"', process.execPath, at('dist/main.mjs'), 'version'];
    const child = spawn('sh', words, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
    expect(await text(child.stdout)).toMatch(/^oplab /);
    expect(existsSync(at('nobody'))).toBe(false);
  });

  it('runs by a link to it, as kubectl runs a plugin', async () => {
    await symlink(at('dist/main.mjs'), at('kubectl-oplab'));
    expect(await run(at('kubectl-oplab'), '--help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Usage: kubectl oplab'),
    });
  });

  it('says which Node it needs and which one runs it', async () => {
    const pretended = '{value:{...process.versions,node:"20.20.2"}}';
    const older = `data:text/javascript,Object.defineProperty(process,"versions",${pretended})`;
    const { code, stdout, stderr } = await run('--import', older, at('dist/main.mjs'), '--help');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('OPLAB_UNFIT_NODE: needs Node 24 or newer, and this is Node 20.20.2');
    expect(stderr).toContain(process.execPath);
  });
});

describe('the way of dist/ to the API server', { timeout: 60_000 }, () => {
  const servers: Server[] = [];
  afterAll(() => {
    for (const server of servers) server.close();
  });
  const listen = async (server: Server) => {
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  };

  /** An API server without Incidents, and a proxy that alone can find it. */
  async function startServers() {
    const requests: string[] = [];
    const api = createServer((request, response) => {
      requests.push(`${request.headers.authorization} ${request.url?.split('?')[0]}`);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ kind: 'List', metadata: {}, items: [] }));
    });
    const port = await listen(api);
    const targets: string[] = [];
    const proxy = createServer((_request, response) => void response.writeHead(405).end());
    proxy.on('connect', (request, client) => {
      targets.push(request.url ?? '');
      if (request.url !== 'api.invalid:80') return void client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      const upstream = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        upstream.pipe(client).pipe(upstream);
      });
    });
    return { requests, targets, port, proxyUrl: `http://127.0.0.1:${await listen(proxy)}` };
  }

  const list = async (cluster: object, user: object) => {
    const kubeconfig = at(`${randomUUID()}.json`);
    const content = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(kubeconfig, JSON.stringify(content));
    return await oplab('incident', 'list', '-n', 'tikv', '--kubeconfig', kubeconfig);
  };
  const none = { code: 0, stdout: '', stderr: 'No Incidents found in namespace tikv.\n' };
  const path = '/apis/oplab.dev/v1alpha1/namespaces/tikv/incidents';

  it('goes through the proxy of the kubeconfig', async () => {
    const { proxyUrl, requests, targets } = await startServers();
    const cluster = { server: 'http://api.invalid', 'proxy-url': proxyUrl };
    expect(await list(cluster, { token: 'abc' })).toEqual(none);
    expect(targets).toEqual(['api.invalid:80']);
    expect(requests).toEqual([`Bearer abc ${path}`]);
  });

  it('does not go around a proxy that refuses', async () => {
    const { proxyUrl, requests, port } = await startServers();
    const cluster = { server: `http://127.0.0.1:${port}`, 'proxy-url': proxyUrl };
    expect(await list(cluster, { token: 'abc' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('OPLAB_KUBE_UNREACHABLE'),
    });
    expect(requests).toEqual([]);
  });

  it('asks an exec plugin for the token', async () => {
    const { requests, port } = await startServers();
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'xyz' },
    };
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: ['-e', `console.log(${JSON.stringify(JSON.stringify(credential))})`],
      interactiveMode: 'Never',
    };
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    expect(await list(cluster, { exec })).toEqual(none);
    expect(requests).toEqual([`Bearer xyz ${path}`]);
  });
});

/** What a command loads at its start: packages, built-in modules, and how much of our own code. */
function measureStart(...entries: string[]) {
  const packages = new Set<string>();
  const builtins = new Set<string>();
  const visited = new Set<string>();
  let bytes = 0;
  const visit = (file: string) => {
    const output = metafile.outputs[file];
    if (visited.has(file) || output === undefined) return;
    visited.add(file);
    bytes += output.bytes;
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const name = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1];
      if (name !== undefined && bytesInOutput > 0) packages.add(name);
      if (input.startsWith('built-in:')) builtins.add(input.replace('built-in:', ''));
    }
    for (const { path, kind, external } of output.imports) {
      // Modules imported on demand, such as the controller's process, are not part of the start.
      if (kind === 'dynamic-import') continue;
      if (external) builtins.add(path);
      else visit(path);
    }
  };
  for (const entry of entries) {
    const found = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === entry);
    if (found === undefined) throw new Error(`${entry} has no output of its own: is it still imported on demand?`);
    visit(found[0]);
  }
  return { packages: [...packages].sort(), builtins: [...builtins].sort(), bytes };
}

describe('what is loaded at the start', () => {
  const base = ['src/main.ts', 'src/cli/program.ts'];

  it('is commander and colors for oplab version', () => {
    const { packages, builtins, bytes } = measureStart(...base);
    expect(packages).toEqual(['commander', 'picocolors']);
    // No TLS, no HTTP, no SQLite, no cryptography: each takes milliseconds.
    expect(builtins).toEqual(['events', 'fs', 'module', 'os', 'path', 'process', 'util'].map((name) => `node:${name}`));
    expect(bytes).toBeLessThan(84_000);
  });

  it('is what one list call needs for oplab incident list', () => {
    const { packages, builtins, bytes } = measureStart(
      ...base,
      'src/cli/environment.ts',
      'src/cli/actions/incident-list.ts',
    );
    // The log and its readers, YAML output and the port-forward are for other commands.
    expect(packages.filter((name) => ['undici', 'yaml', 'ws', 'eventsource-parser'].includes(name))).toEqual([]);
    expect(builtins).not.toContain('node:sqlite');
    expect(builtins).not.toContain('node:child_process');
    expect(bytes).toBeLessThan(464_000);
  });
});
