// One command: bash in a session of its own, its output in a bounded window, its whole process tree ended with it.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { endProcesses, type ProcessSelector } from './process-tree.ts';
import { type ExecEvent, type ExecExit, OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES } from './protocol.ts';
import { LiveOutput } from './shell-live.ts';
import { OutputWindow } from './shell-output.ts';

/** The name of the variable that marks a command's processes; the only one besides the environment that is given. */
const MARKER = 'SHELL_CALL';
/** How long what a command leaves behind may take to end by itself, like the reader of a process substitution. */
const LEFTOVER_PATIENCE_MS = 250;
/** After the last process is gone, how long pipes may stay open (a file descriptor passed elsewhere) before they are cut. */
const PIPES_GRACE_MS = 500;

/** What a command runs with. */
export interface ShellEnvironment {
  /** The whole environment, besides the marker. */
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly wholeContainer: boolean;
}

export interface Command {
  readonly command: string;
  readonly timeoutSeconds: number;
}

/** How often the kernel has killed a process of this container for want of memory; undefined where it does not say. */
async function oomKills(): Promise<number | undefined> {
  for (const file of ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control']) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
    if (count !== undefined) return Number(count);
  }
  return undefined;
}

/** The sentence about a command that the kernel killed; empty for any other end. */
function killedNote(exit: { exitCode: number | null; signal: string | null }, oom: boolean): string {
  if (oom) return '[killed by SIGKILL: out of memory; the memory limit of the sandbox is reached]\n';
  if (exit.signal === 'SIGKILL' || exit.exitCode === 137) {
    return '[killed by SIGKILL, not by the time limit; too much memory is the usual reason]\n';
  }
  return '';
}

/**
 * Runs a command to its end and reports events: `started`, chunks, and the exit, which is also the return value.
 * Never throws for what the command does. An abort of the signal ends it like the time limit does.
 */
export async function runCommand(
  request: Command,
  shellEnvironment: ShellEnvironment,
  emit: (event: ExecEvent) => void,
  signal: AbortSignal,
): Promise<ExecExit> {
  const call = randomUUID();
  const startedAt = performance.now();
  const killsBefore = await oomKills();
  const child = execa('bash', ['-c', request.command], {
    detached: true,
    stdin: 'ignore',
    buffer: false,
    encoding: 'buffer',
    reject: false,
    cleanup: false,
    extendEnv: false,
    env: { ...shellEnvironment.environment, [MARKER]: call },
    cwd: shellEnvironment.directory,
  });
  emit({ type: 'started', time: new Date().toISOString() });

  const live = new LiveOutput(emit);
  const windows = {
    stdout: new OutputWindow(OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES),
    stderr: new OutputWindow(OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES),
  };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      windows[name].push(chunk);
      live.push(name, chunk);
    });
    child[name].on('error', () => undefined);
  }

  const belonging: ProcessSelector = {
    root: child.pid ?? -1,
    marker: `${MARKER}=${call}`,
    wholeContainer: shellEnvironment.wholeContainer,
  };
  let timedOut = false;
  let ending: Promise<number> | undefined;
  const end = (patienceMs = 0) => {
    ending ??= endProcesses(belonging, patienceMs);
    return ending;
  };
  const timer = setTimeout(() => {
    timedOut = true;
    void end();
  }, request.timeoutSeconds * 1000);
  const onAbort = () => void end();
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();

  // Not the promise of execa, which waits for the pipes: a process left in the background holds them open.
  const exit = await new Promise<{ exitCode: number | null; signal: string | null }>((resolve) => {
    child.nodeChildProcess.once('exit', (exitCode, bySignal) => resolve({ exitCode, signal: bySignal }));
    child.nodeChildProcess.once('error', () => resolve({ exitCode: 127, signal: null }));
  });
  clearTimeout(timer);
  signal.removeEventListener('abort', onAbort);
  const killedProcesses = await end(LEFTOVER_PATIENCE_MS);
  const result = await Promise.race([child, sleep(PIPES_GRACE_MS)]);
  child.stdout.destroy();
  child.stderr.destroy();
  live.end();

  const killsAfter = await oomKills();
  const outOfMemory = killsBefore !== undefined && killsAfter !== undefined && killsAfter > killsBefore;
  const note = timedOut || signal.aborted ? '' : killedNote(exit, outOfMemory);
  const failedToStart =
    result !== undefined && child.pid === undefined ? `cannot start bash: ${result.shortMessage ?? ''}\n` : '';
  const done: ExecExit = {
    type: 'exit',
    exitCode: exit.exitCode,
    signal: exit.signal,
    timedOut,
    durationMs: Math.round(performance.now() - startedAt),
    stdout: windows.stdout.text(),
    stderr: windows.stderr.text() + failedToStart + note,
    truncated: windows.stdout.leftOut > 0 || windows.stderr.leftOut > 0,
    killedProcesses,
  };
  emit(done);
  return done;
}
