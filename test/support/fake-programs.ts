// For tests: programs such as kubectl and curl whose answers come from a function of the test.

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';

const ARGUMENT_END = '\x1f';
const ARGUMENTS_END = '\x1e';
const QUESTION_END = '\x1d';

/** The output of a program. An error means exit code 1, and its message goes to stderr. */
export type Program = (program: string, args: readonly string[], stdin: string) => string;

/** How a command of the shell ended. */
export interface Ended {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface FakePrograms {
  /** The directory of the programs, which comes first in PATH. */
  readonly bin: string;
  /** The answer to a question in the words of the programs: exit code, newline, text. */
  answer(question: string): string;
  /** Runs a command in a directory of its own; its programs ask `answer`. One at a time. */
  run(command: string, answer: (question: string) => string): Promise<Ended>;
  close(): Promise<void>;
}

function bash(command: string, directory: string, bin: string): Promise<Ended> {
  const env = { PATH: `${bin}:${process.env.PATH}`, HOME: directory };
  const child = spawn('bash', ['-c', command], { cwd: directory, env });
  child.stdin.end();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal, stdout, stderr }));
  });
}

/**
 * A shell that speaks TCP itself starts faster than anything else that could ask this process.
 * Only kubectl reads its stdin, and only with `-f -`.
 */
const script = (name: string, port: number) => `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/${port}
{ printf '%s\\037' ${name} "$@"; printf '\\036'; [[ "$*" != *"-f -" ]] || cat; printf '\\035'; } >&3
read -r code <&3
if [ "$code" = 0 ]; then cat <&3; else cat <&3 >&2; fi
exit "$code"
`;

/** Makes the programs in a directory of the caller's. `sleep` returns at once. */
export async function startFakePrograms(
  directory: string,
  names: readonly string[],
  program: Program,
): Promise<FakePrograms> {
  const answer = (question: string): string => {
    const [head = '', stdin = ''] = question.split(ARGUMENTS_END);
    const [name = '', ...args] = head.split(ARGUMENT_END).slice(0, -1);
    try {
      return `0\n${program(name, args, stdin)}\n`;
    } catch (error) {
      return `1\n${error instanceof Error ? error.message : String(error)}\n`;
    }
  };
  let current = answer;
  const server = createServer((socket) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (text.endsWith(QUESTION_END)) socket.end(current(text.slice(0, -1)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;

  const bin = path.join(directory, 'bin');
  await mkdir(bin, { recursive: true });
  for (const name of names) await writeFile(path.join(bin, name), script(name, port), { mode: 0o755 });
  await symlink('/bin/true', path.join(bin, 'sleep'));
  return {
    bin,
    answer,
    run: async (command, answerCommand) => {
      current = answerCommand;
      try {
        return await bash(command, await mkdtemp(path.join(directory, 'run-')), bin);
      } finally {
        current = answer;
      }
    },
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
