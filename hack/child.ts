// Runs child processes, each in its own process group, so that an abort ends the whole tree.
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** How a child is run. */
export interface ChildOptions {
  readonly signal?: AbortSignal | undefined;
  readonly cwd?: string;
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input: text, a stream, or a file by its path. Default: empty. */
  readonly input?: string | Readable | { readonly file: string };
  /** Output is shown as it comes and is not in the result. A text is put before each line. */
  readonly echo?: boolean | string;
  /** The child is ended after this many milliseconds; counts as a failure. */
  readonly timeoutMs?: number;
  /** Milliseconds between the request to end and the kill. Default 2,000. */
  readonly graceMs?: number;
  /** Do not throw on a non-zero exit code. */
  readonly allowFailure?: boolean;
}

/** What came out of a child. */
export interface ChildResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A child ended with a non-zero code, by a signal or by our time limit. */
export class ChildFailed extends Error {
  readonly code: number;
  readonly stderr: string;
  constructor(command: string, code: number, stderr: string) {
    const tail = stderr.trim().split('\n').slice(-15).join('\n');
    super(`${command} failed (exit code ${code})${tail === '' ? '' : `:\n${tail}`}`);
    this.name = 'ChildFailed';
    this.code = code;
    this.stderr = stderr;
  }
}

const ownTools = path.join(path.dirname(import.meta.dirname), '.oplab', 'bin');

/** PATH with the tools that cluster:up linked first: kubectl, helm and kind. */
export function searchPath(inherited: string | undefined): string {
  return [ownTools, ...(inherited ?? '').split(path.delimiter).filter((dir) => dir !== ownTools)].join(path.delimiter);
}

/** Ends a child's whole process group: asks first, kills it after `graceMs`. */
function endGroup(pid: number, graceMs = 2000): void {
  const send = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch {
      // The group is gone already.
    }
  };
  send('SIGTERM');
  setTimeout(() => send('SIGKILL'), graceMs).unref();
}

/**
 * Runs a program to its end.
 * @throws ChildFailed unless the exit code is 0 or `allowFailure` is set; the abort's reason when
 * the signal fires.
 */
export async function run(command: string, args: readonly string[], options: ChildOptions = {}): Promise<ChildResult> {
  options.signal?.throwIfAborted();
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, PATH: searchPath(process.env.PATH), ...options.env },
    detached: true,
    stdio: options.echo === true ? ['ignore', 'inherit', 'inherit'] : 'pipe',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  if (typeof options.echo === 'string') {
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ] as const)
      if (from !== null) showLines(from, to, options.echo);
  } else {
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  }
  const end = (): void => {
    if (child.pid !== undefined && child.exitCode === null) endGroup(child.pid, options.graceMs);
  };
  options.signal?.addEventListener('abort', end, { once: true });
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(end, options.timeoutMs);
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal === null ? (code ?? 1) : 128));
  });
  try {
    const fed = child.stdin === null ? Promise.resolve() : feed(child.stdin, options.input);
    // A child that ends early closes its input; its exit code explains more than our broken pipe.
    const [code] = await Promise.all([ended, fed.catch(() => undefined)]);
    options.signal?.throwIfAborted();
    const result = { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
    if (code !== 0 && options.allowFailure !== true) {
      throw new ChildFailed([command, ...args].join(' ').slice(0, 300), code, result.stderr.trim() || result.stdout);
    }
    return result;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', end);
  }
}

/** Copies whole lines, so that those of two programs do not mix. */
function showLines(from: Readable, to: NodeJS.WritableStream, prefix: string): void {
  createInterface({ input: from }).on('line', (line) => to.write(`${prefix}${line}\n`));
}

async function feed(stdin: NodeJS.WritableStream, input: ChildOptions['input']): Promise<void> {
  if (input === undefined) stdin.end();
  else if (typeof input === 'string') stdin.end(input);
  else await pipeline('file' in input ? createReadStream(input.file) : input, stdin);
}

/** The trimmed standard output of a program that must succeed. */
export async function output(command: string, args: readonly string[], options: ChildOptions = {}): Promise<string> {
  return (await run(command, args, options)).stdout.trim();
}

/** Whether a program ends with exit code 0; one that does not exist has not. */
export async function succeeds(command: string, args: readonly string[], options: ChildOptions = {}): Promise<boolean> {
  try {
    return (await run(command, args, { ...options, allowFailure: true })).code === 0;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    return false;
  }
}
