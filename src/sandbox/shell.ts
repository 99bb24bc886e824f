// Runs one command: bash in its own session, with bounded output; kills its process tree at the
// end.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import {
  describeProcess,
  type Listener,
  limitNames,
  listListeners,
  newListeners,
  socketInodes,
} from './left-behind.ts';
import { endProcesses, type Process, type ProcessSelector } from './process-tree.ts';
import { type ExecEvent, type ExecExit, OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES } from './protocol.ts';
import { LiveOutput } from './shell-live.ts';
import { OutputWindow } from './shell-output.ts';
import { TerminalText } from './terminal-text.ts';

/** The variable that marks a command's processes; it is added to the given environment. */
const MARKER = 'SHELL_CALL';
/**
 * How long leftover processes, such as the reader of a process substitution, have to end by
 * themselves.
 */
const LEFTOVER_PATIENCE_MS = 250;
/**
 * How long pipes may stay open after the last process ended; its descriptor may have been passed
 * on.
 */
const PIPES_GRACE_MS = 500;

/** How long a listener may outlive its processes, in milliseconds. */
const LISTENER_PATIENCE_MS = 300;

/** The environment in which commands run. */
export interface ShellEnvironment {
  /** All environment variables except the marker. */
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly wholeContainer: boolean;
  /**
   * Whether a socket that appears during a command and stays is the command's: nothing else opens
   * any here, except the server itself with these.
   */
  readonly ownListeners?: readonly string[];
}

export interface Command {
  readonly command: string;
  readonly timeoutSeconds: number;
}

/** The number of OOM kills in this container; undefined if the kernel does not report it. */
async function oomKills(): Promise<number | undefined> {
  for (const file of ['/sys/fs/cgroup/memory.events', '/sys/fs/cgroup/memory/memory.oom_control']) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
    if (count !== undefined) return Number(count);
  }
  return undefined;
}

/** A note about a command that was killed by SIGKILL; empty for any other end. */
function killedNote(exit: { exitCode: number | null; signal: string | null }, oom: boolean): string {
  if (oom) return '[killed by SIGKILL: out of memory; the command reached the memory limit of the sandbox]\n';
  if (exit.signal === 'SIGKILL' || exit.exitCode === 137) {
    return '[killed by SIGKILL, not by the time limit; the usual cause is a lack of memory]\n';
  }
  return '';
}

/** Processes that are about to be killed, and what they listen on. */
async function describeLeftovers(processes: readonly Process[]): Promise<string[]> {
  const pids = processes.map(({ pid }) => pid);
  const inodes = await socketInodes(pids);
  const listeners = (await listListeners()).filter(({ inode }) => inodes.has(inode));
  return [
    ...(await Promise.all(pids.map(async (pid) => `process "${await describeProcess(pid)}" (killed)`))),
    ...listeners.map(({ name }) => `listener on ${name} (closed)`),
  ];
}

/** Listeners that the command opened and that outlive all its processes. */
async function findOpenListeners(before: readonly Listener[], own: readonly string[]): Promise<string[]> {
  const find = async () => newListeners(before, await listListeners()).filter(({ name }) => !own.includes(name));
  if ((await find()).length === 0) return [];
  // The socket of a process that was killed closes a moment later, and so do those of the agent.
  await sleep(LISTENER_PATIENCE_MS);
  return (await find()).map(({ name }) => `listener on ${name} (still open)`);
}

/**
 * Runs a command to its end and reports events: `started`, chunks, and the exit, which it also
 * returns. Never throws because of what the command does. Aborting the signal kills it like the
 * time limit.
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
  const { ownListeners } = shellEnvironment;
  const listenersBefore = ownListeners === undefined ? [] : await listListeners();
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
  const read = (name: 'stdout' | 'stderr') => {
    const window = new OutputWindow(OUTPUT_HEAD_BYTES, OUTPUT_TAIL_BYTES);
    const terminal = new TerminalText((text) => {
      window.push(Buffer.from(text));
      live.push(name, text);
    });
    child[name].on('data', (chunk: Buffer) => terminal.push(chunk));
    child[name].on('error', () => undefined);
    return { window, terminal };
  };
  const stdout = read('stdout');
  const stderr = read('stderr');

  const selector: ProcessSelector = {
    root: child.pid ?? -1,
    marker: `${MARKER}=${call}`,
    wholeContainer: shellEnvironment.wholeContainer,
  };
  let timedOut = false;
  let ending: Promise<number> | undefined;
  const end = (patienceMs = 0, onFound?: (processes: readonly Process[]) => Promise<void>) => {
    ending ??= endProcesses(selector, patienceMs, onFound);
    return ending;
  };
  const timer = setTimeout(() => {
    timedOut = true;
    void end();
  }, request.timeoutSeconds * 1000);
  const onAbort = () => void end();
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();

  // execa's promise waits for the pipes, which background processes keep open. So wait for the
  // exit.
  const exit = await new Promise<{ exitCode: number | null; signal: string | null }>((resolve) => {
    child.nodeChildProcess.once('exit', (exitCode, bySignal) => resolve({ exitCode, signal: bySignal }));
    child.nodeChildProcess.once('error', () => resolve({ exitCode: 127, signal: null }));
  });
  clearTimeout(timer);
  signal.removeEventListener('abort', onAbort);
  const leftBehind: string[] = [];
  const killedProcesses = await end(LEFTOVER_PATIENCE_MS, async (processes) => {
    leftBehind.push(...(await describeLeftovers(processes)));
  });
  if (ownListeners !== undefined) leftBehind.push(...(await findOpenListeners(listenersBefore, ownListeners)));
  const result = await Promise.race([child, sleep(PIPES_GRACE_MS)]);
  child.stdout.destroy();
  child.stderr.destroy();
  for (const { terminal } of [stdout, stderr]) terminal.end();
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
    stdout: stdout.window.text(),
    stderr: stderr.window.text() + failedToStart + note,
    truncated: stdout.window.leftOut > 0 || stderr.window.leftOut > 0,
    hiddenCharacters: stdout.terminal.hidden + stderr.terminal.hidden,
    killedProcesses,
    leftBehind: limitNames(leftBehind),
  };
  emit(done);
  return done;
}
