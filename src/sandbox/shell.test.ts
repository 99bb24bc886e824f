// Commands: their environment, their limits, and that nothing outlives them.

import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { commandEnvironment } from './process.ts';
import { type ExecEvent, OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES } from './protocol.ts';
import { runCommand } from './shell.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oplab-shell-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

function run(
  command: string,
  options: { timeoutSeconds?: number; signal?: AbortSignal; emit?: (e: ExecEvent) => void } = {},
) {
  const searchPath = process.env.PATH ?? '/usr/bin:/bin';
  const shellEnvironment = {
    environment: commandEnvironment(home, searchPath, path.join(home, '.kube/config')),
    directory: home,
    wholeContainer: false,
  };
  return runCommand(
    { command, timeoutSeconds: options.timeoutSeconds ?? 20 },
    shellEnvironment,
    options.emit ?? (() => undefined),
    options.signal ?? new AbortController().signal,
  );
}

/** Pids of processes whose command line holds the text. */
function alive(text: string): string[] {
  return execFileSync('ps', ['-eo', 'pid=,stat=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(text) && !/^\s*\d+\s+Z/.test(line));
}

describe('a command', () => {
  it('reports exit code, both streams and its duration', async () => {
    const exit = await run('echo out; echo err >&2; exit 7');
    expect(exit).toMatchObject({ exitCode: 7, signal: null, timedOut: false, stdout: 'out\n', stderr: 'err\n' });
    expect(exit.durationMs).toBeGreaterThan(0);
  });

  it('sees a clean environment: nothing of the server, no secrets', async () => {
    vi.stubEnv('OPLAB_SECRET_FOR_TEST', 'must not leak');
    onTestFinished(() => void vi.unstubAllEnvs());
    const exit = await run('env | sort | cut -d= -f1; pwd');
    const names = exit.stdout.trim().split('\n');
    // PWD, SHLVL and _ are bash's own.
    expect(names).toEqual(['HOME', 'KUBECONFIG', 'LANG', 'PATH', 'PWD', 'SHELL_CALL', 'SHLVL', 'TERM', '_', home]);
  });

  it('finds its stdin closed instead of waiting for a person', async () => {
    const exit = await run('read answer; echo "read ended with $?"');
    expect(exit.stdout).toBe('read ended with 1\n');
  });

  it('says so when a program does not exist', async () => {
    const exit = await run('no-such-program');
    expect(exit.exitCode).toBe(127);
    expect(exit.stderr).toContain('not found');
  });
});

describe('the end of a command', () => {
  it('comes with the time limit, also for setsid, nohup and double-forked children', async () => {
    const mark = `98${process.pid}1`;
    const exit = await run(
      `setsid sleep ${mark} & nohup sleep ${mark} >/dev/null 2>&1 & (setsid bash -c "sleep ${mark} & exec sleep ${mark}" &) ; sleep ${mark}`,
      { timeoutSeconds: 1 },
    );
    expect(exit.timedOut).toBe(true);
    expect(exit.killedProcesses).toBeGreaterThanOrEqual(5);
    expect(exit.durationMs).toBeLessThan(4500);
    expect(alive(mark)).toEqual([]);
  });

  it('kills what ignores SIGTERM after two seconds', async () => {
    const mark = `97${process.pid}2`;
    const exit = await run(`trap '' TERM; echo ready; while true; do sleep ${mark}; done`, { timeoutSeconds: 1 });
    expect(exit).toMatchObject({ timedOut: true, signal: 'SIGKILL', stdout: 'ready\n' });
    expect(exit.durationMs).toBeGreaterThanOrEqual(2900);
    expect(exit.durationMs).toBeLessThan(6000);
    expect(alive(mark)).toEqual([]);
  });

  it('takes background processes with it, though they hold the pipes open', async () => {
    const mark = `96${process.pid}3`;
    const exit = await run(`(setsid sleep ${mark} &) ; sleep ${mark} & echo done`);
    expect(exit).toMatchObject({ exitCode: 0, stdout: 'done\n', killedProcesses: 2 });
    expect(exit.durationMs).toBeLessThan(4000);
    expect(alive(mark)).toEqual([]);
  });

  it('lets the reader of a process substitution finish', async () => {
    const exit = await run('echo kept > >(sleep 0.1; cat > copy); true');
    expect(exit).toMatchObject({ killedProcesses: 0, leftBehind: [] });
    expect(await readFile(path.join(home, 'copy'), 'utf8')).toBe('kept\n');
  });

  it('comes with an abort', async () => {
    const mark = `95${process.pid}4`;
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 300);
    const exit = await run(`setsid sleep ${mark} & sleep ${mark}`, { signal: stop.signal });
    expect(exit.timedOut).toBe(false);
    expect(alive(mark)).toEqual([]);
  });

  it('says plainly when something else killed it', async () => {
    const exit = await run('kill -9 $$');
    expect(exit.signal).toBe('SIGKILL');
    expect(exit.stderr).toContain('killed by SIGKILL');
    const inner = await run('bash -c "kill -9 \\$\\$"; exit $?');
    expect(inner.exitCode).toBe(137);
    expect(inner.stderr).toContain('killed by SIGKILL');
  });
});

describe('the output of a command', () => {
  it('keeps head and tail and says how much is missing', async () => {
    const exit = await run('seq 1 100000');
    expect(exit.truncated).toBe(true);
    expect(exit.stdout.startsWith('1\n2\n')).toBe(true);
    expect(exit.stdout.endsWith('99999\n100000\n')).toBe(true);
    const missing = 588895 - OUTPUT_HEAD_BYTES - OUTPUT_TAIL_BYTES;
    expect(exit.stdout).toContain(`[... ${missing} bytes omitted ...]`);
  });

  it('never cuts a character in two', async () => {
    const exit = await run('for i in $(seq 1 30000); do printf "x€"; done');
    expect(exit.truncated).toBe(true);
    expect(exit.stdout).not.toContain('\uFFFD');
  });

  it('replaces what is no text', async () => {
    const exit = await run("printf 'a\\377\\0b'");
    expect(exit.stdout).toBe('a\uFFFD\uFFFDb');
  });

  it('is what a person would see, live and at the end', async () => {
    const chunks: string[] = [];
    const script =
      "for i in 1 2 3; do printf '\\r%3d0%%' $i; done; printf '\\n\\e[31mred\\e[0m\\xe2\\x80'; printf '\\xa8\\0x\\r\\n'; printf 'ab\\bc' >&2";
    const exit = await run(script, { emit: (event) => event.type === 'chunk' && chunks.push(event.text) });
    expect(exit).toMatchObject({
      stdout: '  30%\nred\u2028\ufffdx\n',
      stderr: 'ac',
      hiddenCharacters: 3,
      truncated: false,
    });
    expect(chunks.join('').replace('ac', '')).toBe(exit.stdout);
  });

  it.each([
    ['zeros', 'cat /dev/zero'],
    ['noise', 'cat /dev/urandom'],
    ['a progress bar', "yes ' 10 %' | tr '\\n' '\\r'"],
    ['colors', "yes $'\\e[31mred\\e[m'"],
    ['a title that has no end', "printf '\\e]0;'; yes x | tr -d '\\n'"],
  ])('keeps head and tail of %s without an end, and no more', async (_, command) => {
    const before = process.memoryUsage().rss;
    const sizes: number[] = [];
    const emit = (event: ExecEvent) => event.type === 'chunk' && sizes.push(event.text.length);
    const exit = await run(command, { timeoutSeconds: 2, emit });
    expect(exit.timedOut).toBe(true);
    // The server must not be busy with what came before.
    expect(exit.durationMs).toBeLessThan(8000);
    expect(exit.stdout.length).toBeLessThan(40_000);
    expect(Math.max(0, ...sizes)).toBeLessThan(10_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  it('does not grow memory, however much comes', async () => {
    const before = process.memoryUsage().rss;
    let events = 0;
    const exit = await run('yes "some line that repeats itself"', {
      timeoutSeconds: 3,
      emit: () => {
        events++;
      },
    });
    expect(exit).toMatchObject({ truncated: true, timedOut: true });
    expect(exit.stdout.length).toBeLessThan(40_000);
    expect(events).toBeLessThan(100);
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024);
  });

  it('is streamed while the command runs', async () => {
    const chunks: string[] = [];
    const go = path.join(home, 'go');
    const running = run(`echo first; until [ -e ${go} ]; do sleep 0.05; done; echo second`, {
      emit: (event) => {
        if (event.type === 'chunk') chunks.push(event.text);
      },
    });
    await eventually(() => chunks.length > 0, { what: 'the first line' });
    expect(chunks).toEqual(['first\n']);
    await writeFile(go, '');
    await running;
    expect(chunks).toEqual(['first\n', 'second\n']);
  });
});

describe('a file that is gone', () => {
  it('as working directory is an error, not a crash', async () => {
    await rm(home, { recursive: true, force: true });
    const exit = await run('true');
    expect(exit.exitCode === 0).toBe(false);
    await unlink(home).catch(() => undefined);
  });
});
