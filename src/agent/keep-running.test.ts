// The script that starts an agent again in its container.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-keep-running-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Runs a program under the script. It knows `n`, how often it was started again. */
async function keepRunning(program: string, PATH = process.env.PATH) {
  const main = path.join(directory, 'main.mjs');
  await writeFile(
    main,
    `import { appendFileSync } from 'node:fs';
const n = Number(process.env.OPLAB_AGENT_RESTARTS);
const say = (text) => appendFileSync(${JSON.stringify(path.join(directory, 'said'))}, text + '\\n');
say(process.pid + ' ' + n + ' ' + process.argv[2]);
${program}`,
  );
  const script = path.join(import.meta.dirname, 'keep-running.sh');
  const child = spawn('sh', [script, 'agent'], { env: { ...process.env, PATH, OPLAB_MAIN: main }, stdio: 'ignore' });
  const exit = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)));
  const said = async () => (await readFile(path.join(directory, 'said'), 'utf8').catch(() => '')).trim().split('\n');
  return { child, exit, said };
}

it('starts an agent again that was killed or has failed, and tells it how often', async () => {
  const { exit, said } = await keepRunning(
    "if (n === 0) process.kill(process.pid, 'SIGKILL'); if (n === 1) throw new Error('a defect'); if (n === 2) process.abort();",
  );
  expect(await exit).toBe(0);
  expect((await said()).map((line) => line.replace(/^\d+ /, ''))).toEqual(['0 agent', '1 agent', '2 agent', '3 agent']);
});

it.each([0, 3])('leaves an end with code %d to the kubelet', async (code) => {
  const { exit, said } = await keepRunning(`process.exitCode = ${code};`);
  expect(await exit).toBe(code);
  expect(await said()).toHaveLength(1);
});

it('passes a SIGTERM on that came before the agent was there', async () => {
  // The script asks for the time just before it starts the agent.
  const date = path.join(directory, 'date');
  await writeFile(date, '#!/bin/sh\nkill -TERM $PPID\nPATH=/bin:/usr/bin exec date "$@"\n', { mode: 0o755 });
  const { child, exit } = await keepRunning('setTimeout(() => {}, 20_000);', `${directory}:${process.env.PATH}`);
  const code = await Promise.race([exit, sleep(10_000, 'still running', { ref: false })]);
  child.kill('SIGKILL');
  expect(code).toBe(143);
});

it('passes SIGTERM on, and ends with the agent', async () => {
  const { child, exit, said } = await keepRunning(
    "process.on('SIGTERM', () => { say('stopped'); process.exit(7); }); say('ready'); setInterval(() => {}, 1000);",
  );
  await eventually(async () => (await said()).includes('ready'));
  child.kill('SIGTERM');
  expect(await exit).toBe(7);
  expect((await said()).at(-1)).toBe('stopped');
});
