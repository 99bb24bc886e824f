// Finds and kills the processes of a command: its tree, its session, and what escaped from both.

import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process in /proc. Pids are reused, but pid and start time together are unique. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  readonly startTime: string;
  readonly zombie: boolean;
}

/** How to recognize the processes of a command. */
export interface ProcessSelector {
  /** The command's shell, which is the root of its tree and the leader of its session. */
  readonly root: number;
  /** `NAME=value`, present in the environment of every process of the command. */
  readonly marker: string;
  /**
   * Whether the container runs only commands, so that all processes except the shell server are
   * theirs.
   */
  readonly wholeContainer: boolean;
}

const TERM_GRACE_MS = 2000;
/**
 * Limits the fight against fork bombs: each sweep kills all processes; the rest is left to the pids
 * limit.
 */
const MAX_SWEEPS = 200;

/** Parses /proc/<pid>/stat. The name in parentheses may itself contain spaces and parentheses. */
export function parseStat(text: string): Process | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < 0) return undefined;
  const fields = text.slice(close + 2).split(' ');
  const [state, parent, , session] = fields;
  const startTime = fields[19];
  if (state === undefined || parent === undefined || session === undefined || startTime === undefined) return undefined;
  return {
    pid: Number(text.slice(0, open)),
    parent: Number(parent),
    session: Number(session),
    startTime,
    zombie: state === 'Z' || state === 'X',
  };
}

async function readText(path: string): Promise<string> {
  // A process may end between the listing and the read.
  return readFile(path, 'latin1').catch(() => '');
}

async function allProcesses(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readText(`/proc/${pid}/stat`)));
  return stats.flatMap((stat) => parseStat(stat) ?? []);
}

/** The given roots and all their descendants. */
function withDescendants(roots: ReadonlySet<number>, processes: readonly Process[]): Set<number> {
  const found = new Set(roots);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const process of processes) if (found.has(process.parent)) found.add(process.pid);
  }
  return found;
}

/**
 * Whether PID 1 is tini and this process is its child; then only commands and this server run here.
 */
export async function ownsContainer(): Promise<boolean> {
  return process.ppid === 1 && (await readText('/proc/1/comm')).trim() === 'tini';
}

/** The living processes of a command. */
export async function findProcesses(selector: ProcessSelector): Promise<Process[]> {
  const processes = (await allProcesses()).filter((candidate) => !candidate.zombie);
  if (selector.wholeContainer) {
    // Processes started from outside (probes, kubectl exec) have parent 0, which a process started
    // inside the container cannot get.
    const outside = new Set(processes.filter((it) => it.parent === 0 && it.pid !== 1).map((it) => it.pid));
    const spared = withDescendants(outside, processes);
    return processes.filter((it) => it.pid !== 1 && it.pid !== process.pid && !spared.has(it.pid));
  }
  const marked = await Promise.all(
    processes.map(async (it) => (await readText(`/proc/${it.pid}/environ`)).split('\0').includes(selector.marker)),
  );
  const roots = processes.filter(
    (it, index) => it.pid === selector.root || it.session === selector.root || marked[index] === true,
  );
  const tree = withDescendants(new Set(roots.map((it) => it.pid)), processes);
  return processes.filter((it) => tree.has(it.pid) && it.pid !== process.pid && it.pid !== 1);
}

function signalAll(processes: readonly Process[], signal: 'SIGTERM' | 'SIGKILL'): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended in the meantime.
    }
  }
}

/**
 * Kills all processes of a command: SIGTERM, two seconds of grace, then SIGKILL until none is left.
 * Before that, the processes have `patienceMs` to end by themselves.
 * @param onFound is told once of the processes that are alive, before they are killed
 * @returns the number of distinct processes that were alive
 */
export async function endProcesses(
  selector: ProcessSelector,
  patienceMs = 0,
  onFound: (processes: readonly Process[]) => Promise<void> = async () => undefined,
): Promise<number> {
  const patienceEnds = performance.now() + patienceMs;
  // A process in the middle of exec has no environment for a moment, and would not be recognized.
  const looks = selector.wholeContainer ? 1 : 2;
  for (let empty = 0; performance.now() < patienceEnds; await sleep(20)) {
    empty = (await findProcesses(selector)).length === 0 ? empty + 1 : 0;
    if (empty === looks) return 0;
  }
  const seen = new Set<string>();
  const living = async () => {
    const processes = await findProcesses(selector);
    for (const { pid, startTime } of processes) seen.add(`${pid}/${startTime}`);
    return processes;
  };
  let remaining = await living();
  if (remaining.length === 0) return 0;
  const count = seen.size;
  await onFound(remaining);
  signalAll(remaining, 'SIGTERM');
  const graceEnds = performance.now() + TERM_GRACE_MS;
  while (remaining.length > 0 && performance.now() < graceEnds) {
    await sleep(20);
    remaining = await living();
  }
  for (let sweep = 0; remaining.length > 0 && sweep < MAX_SWEEPS; sweep++) {
    signalAll(remaining, 'SIGKILL');
    await sleep(10);
    remaining = await living();
  }
  return Math.max(count, seen.size);
}
