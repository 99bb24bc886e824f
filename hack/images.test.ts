// The images start node so that no command can enter its process, and both ways to build them say the same.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from './cluster/names.ts';
import { oplabImages } from './images.ts';

const run = promisify(execFile);
/** The user of the pods. */
const user = 65532;

describe('the Dockerfile and the local recipes', () => {
  it('start node alike', async () => {
    const text = await readFile(path.join(root, 'Dockerfile'), 'utf8');
    const lines = [...text.matchAll(/^ENTRYPOINT (\[.*"node".*\])$/gm)].map(([, json = '']) => JSON.parse(json));
    // The Dockerfile's sandbox starts as a sandbox; the pod's arguments say so for the recipe.
    expect(lines.map((line) => line.filter((word: string) => word !== 'sandbox'))).toEqual(
      oplabImages.map((image) => image.entrypoint),
    );
  });

  it('install node with equal permissions', async () => {
    const text = await readFile(path.join(root, 'Dockerfile'), 'utf8');
    const modes = [...text.matchAll(/^COPY --from=node (?:--chmod=(\d+) )?\S+ \/usr\/local\/bin\/node$/gm)];
    expect(modes.map(([, mode]) => Number.parseInt(mode ?? '755', 8))).toEqual(
      oplabImages.flatMap(({ files }) =>
        files.filter(({ to }) => to === '/usr/local/bin/node').map(({ mode }) => mode),
      ),
    );
  });
});

describe.skipIf(process.getuid?.() !== 0)('a command of the same user', () => {
  let dir = '';
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'oplab-node-'));
    await chmod(dir, 0o755);
    for (const mode of [0o755, 0o711]) {
      await copyFile(process.execPath, path.join(dir, mode.toString(8)));
      await chmod(path.join(dir, mode.toString(8)), mode);
    }
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  /** Starts a server process as the pods' user, has a command attack it, and says what the command saw. */
  async function attack(mode: string, flags: readonly string[], command: string) {
    const server = spawn(path.join(dir, mode), [...flags, '-e', 'console.log(1); setInterval(() => {}, 1000)'], {
      uid: user,
      gid: user,
      env: {},
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    server.stderr.on('data', (chunk) => (stderr += chunk));
    await once(server.stdout, 'data');
    const options = { uid: user, gid: user, env: { PATH: '/usr/bin:/bin', PID: String(server.pid) } };
    const { stdout } = await run('sh', ['-c', command], options);
    await sleep(500);
    const alive = server.exitCode === null && server.signalCode === null;
    server.kill('SIGKILL');
    return { stdout, stderr, alive };
  }
  const flags = oplabImages[1]?.entrypoint.filter((word) => word.startsWith('--disable')) ?? [];
  const mode = oplabImages[1]?.files[0]?.mode?.toString(8) ?? '755';
  const debuggerOn = 'kill -USR1 $PID';
  const memory = 'cat /proc/$PID/environ >/dev/null 2>&1 && echo open || echo shut';

  it('opens no debugger in the server, which it can without the flag', async () => {
    expect((await attack('755', [], debuggerOn)).stderr).toContain('Debugger listening');
    expect(await attack(mode, flags, debuggerOn)).toMatchObject({ stderr: '', alive: true });
  });

  it('reads nothing of the server, which it can where node is readable', async () => {
    expect((await attack('755', flags, memory)).stdout).toBe('open\n');
    expect((await attack(mode, flags, memory)).stdout).toBe('shut\n');
  });
});
