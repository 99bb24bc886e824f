// The bundles as they are shipped: what holds in the source tree also holds in dist/.

import { spawn } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openedEntry } from '../src/audit/lifecycle.ts';
import { openAuditLog } from '../src/audit/store.ts';
import { buildBundles } from './build.ts';

let directory: string;
const at = (name: string) => path.join(directory, name);

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-dist-'));
  await buildBundles(at('dist'));
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
      [['incident', 'create', '-f', 'nowhere.yaml'], 2, 'OPLAB_INVALID_INPUT: nowhere.yaml'],
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

  it('judges the CEL of a check with the worker that lies beside it', async () => {
    const create = ['incident', 'create', 'a', '-n', 'x', '--summary', 's', '--dry-run', 'client', '-o', 'name'];
    const [well, ill] = await Promise.all(
      ['status == 200', 'status === 200'].map((cel) => oplab(...create, '--http-check', `up=pd:80 ${cel}`)),
    );
    expect(well).toEqual({ code: 0, stdout: 'incident.oplab.dev/a\n', stderr: expect.any(String) });
    expect(ill).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('OPLAB_INVALID_INPUT: spec.verify.checks.0'),
    });
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
