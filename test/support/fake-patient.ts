// kubectl, helm and curl that act on a cluster in memory, for tests. jq, awk and bash are real, and
// jq runs only once for the same input.

import { spawnSync } from 'node:child_process';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { FakeCluster, type FakeClusterOptions } from './fake-cluster.ts';

export interface FakePatientOptions extends FakeClusterOptions {
  /** Changes the output of every command. */
  readonly garble?: (text: string) => string;
}

export interface FakePatient {
  /** The directory to put first in PATH. */
  readonly bin: string;
  readonly cluster: FakeCluster;
  close(): Promise<void>;
}

const ARGUMENT_END = '\x1f';
const ARGUMENTS_END = '\x1e';
const QUESTION_END = '\x1d';

/** Starting jq takes most of a test's time, and waiting asks the same question repeatedly. */
const jqAnswers = new Map<string, string>();

function jq(question: string, args: readonly string[], stdin: string): string {
  const known = jqAnswers.get(question);
  if (known !== undefined) return known;
  const { status, stdout, stderr } = spawnSync('jq', args, { input: stdin, encoding: 'utf8' });
  const answer = `${status ?? 1}\n${status === 0 ? stdout : stderr}`;
  jqAnswers.set(question, answer);
  return answer;
}

/** Creates the programs in a directory of the caller. They get their output from this process. */
export async function createFakePatient(directory: string, options: FakePatientOptions): Promise<FakePatient> {
  const cluster = new FakeCluster(options);
  const bin = path.join(directory, 'bin');
  await mkdir(bin, { recursive: true });
  const garble = options.garble ?? ((text: string) => text);

  const answerTo = (question: string): string => {
    const [head = '', stdin = ''] = question.split(ARGUMENTS_END);
    const [program = '', ...args] = head.split(ARGUMENT_END).slice(0, -1);
    if (program === 'jq') return jq(question, args, stdin);
    try {
      const value = cluster.answer(program, args, stdin);
      return `0\n${garble(typeof value === 'string' ? value : JSON.stringify(value))}\n`;
    } catch (error) {
      return `1\n${garble(error instanceof Error ? error.message : String(error))}\n`;
    }
  };
  const server = createServer((socket) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (text.endsWith(QUESTION_END)) socket.end(answerTo(text.slice(0, -1)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;

  const { stdout: realJq } = spawnSync('bash', ['-c', 'command -v jq'], { encoding: 'utf8' });
  // The shell itself connects over TCP, because each process that is saved makes hundreds of
  // observations faster. jq reads files itself.
  for (const name of ['kubectl', 'helm', 'curl', 'jq']) {
    const reads = name === 'jq' ? 'true' : '[[ "$*" == *"-f -" ]]';
    const files = name === 'jq' ? `[[ "$*" != *file* && "$*" != *.json ]] || exec ${realJq.trim()} "$@"\n` : '';
    const script = `#!/bin/bash
${files}exec 3<>/dev/tcp/127.0.0.1/${port}
{ printf '%s\\037' ${name} "$@"; printf '\\036'; ! ${reads} || cat; printf '\\035'; } >&3
read -r code <&3
IFS= read -r -d '' text <&3
if [ "$code" = 0 ]; then printf '%s' "$text"; else printf '%s' "$text" >&2; fi
exit "$code"
`;
    await writeFile(path.join(bin, name), script);
    await chmod(path.join(bin, name), 0o755);
  }
  await symlink('/bin/true', path.join(bin, 'sleep'));
  return {
    bin,
    cluster,
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
