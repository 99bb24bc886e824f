// An acknowledged entry is on disk. The tests show it with the order of system calls, with failing
// fsyncs, and with killed processes.

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openAuditLog } from '../../src/audit/store.ts';
import { isSound, verifyFile } from '../../src/audit/verify.ts';

const run = promisify(execFile);
const appender = path.join(import.meta.dirname, '../support/audit-appender.ts');
let directory: string;
let file: string;

beforeAll(async () => {
  if (existsSync('/usr/bin/strace')) return;
  // As root on Debian, the tool is installed. Elsewhere the test reports what is missing.
  await run('apt-get', ['install', '-y', '--no-install-recommends', 'strace']).catch((error: unknown) => {
    throw new Error('these tests need strace; install it', { cause: error });
  });
});
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'oplab-durability-'));
  file = path.join(directory, 'audit.db');
  await (await openAuditLog({ path: file })).close();
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Runs the appender under strace. Returns its output lines and the trace. */
async function traced(straceArguments: readonly string[], appenderArguments: readonly string[]) {
  const trace = path.join(directory, 'trace');
  const args = [
    '-f',
    '-y',
    '-s',
    '64',
    '-o',
    trace,
    ...straceArguments,
    process.execPath,
    appender,
    file,
    ...appenderArguments,
  ];
  const { stdout } = await run('strace', args, { timeout: 50_000 });
  return { lines: stdout.trim().split('\n'), trace: (await readFile(trace, 'utf8')).split('\n') };
}

interface Call {
  readonly name: string;
  readonly target: string;
  readonly result: number;
  /** Line numbers in the trace at which the call was entered and finished. */
  readonly entered: number;
  readonly done: number;
}

/** The calls of a trace in which lines of other threads may separate the two halves of a call. */
function parseCalls(trace: readonly string[]): Call[] {
  const calls: Call[] = [];
  const open = new Map<string, { name: string; target: string; entered: number }>();
  for (const [at, line] of trace.entries()) {
    const whole = /^(\d+) +(\w+)\((.*)\) += (-?\d+)/.exec(line);
    const begun = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/.exec(line);
    const resumed = /^(\d+) +<\.\.\. (\w+) resumed>.*\) += (-?\d+)/.exec(line);
    if (resumed !== null) {
      const first = open.get(`${resumed[1]} ${resumed[2]}`);
      if (first !== undefined) calls.push({ ...first, result: Number(resumed[3]), done: at });
    } else if (begun !== null) {
      open.set(`${begun[1]} ${begun[2]}`, { name: begun[2] ?? '', target: begun[3] ?? '', entered: at });
    } else if (whole !== null) {
      calls.push({ name: whole[2] ?? '', target: whole[3] ?? '', result: Number(whole[4]), entered: at, done: at });
    }
  }
  return calls;
}

describe('fsync comes before the ack', () => {
  it('in the order of system calls, for each entry', async () => {
    const { lines, trace } = await traced(['-e', 'trace=write,pwrite64,fsync,fdatasync'], ['k', '5', '1']);
    expect(lines.filter((line) => line.startsWith('ack'))).toHaveLength(5);
    const calls = parseCalls(trace);
    const acks = calls.filter((call) => call.name === 'write' && /"ack k-\d/.test(call.target));
    expect(acks).toHaveLength(5);
    let since = -1;
    for (const ack of acks) {
      const written = calls.filter(
        (call) =>
          call.name === 'pwrite64' &&
          call.target.includes('audit.db-wal') &&
          call.entered > since &&
          call.done < ack.entered,
      );
      expect(written.length, `rows written before ${ack.target}`).toBeGreaterThan(0);
      const last = Math.max(...written.map((call) => call.done));
      const synced = calls.some(
        (call) =>
          /^fd?(ata)?sync$/.test(call.name) &&
          call.target.includes('audit.db-wal') &&
          call.result === 0 &&
          call.entered > last &&
          call.done < ack.entered,
      );
      expect(synced, `fsync between the row and ${ack.target}`).toBe(true);
      since = ack.done;
    }
  });

  it('and an fsync that fails gives no ack', async () => {
    const { lines } = await traced(['-P', `${file}-wal`, '-e', 'inject=fsync,fdatasync:error=EIO'], ['k', '3', '1']);
    expect(lines).toEqual(['open', ...[0, 1, 2].map((n) => `rejected k-${n} OPLAB_AUDIT_UNAVAILABLE`)]);
  });

  it('and neither does a disk that has become read-only', async () => {
    const { lines } = await traced(['-P', `${file}-wal`, '-e', 'inject=pwrite64:error=EROFS'], ['k', '3', '1']);
    expect(lines).toEqual(['open', ...[0, 1, 2].map((n) => `rejected k-${n} OPLAB_AUDIT_UNAVAILABLE`)]);
  });

  it('and the log recovers from one failed fsync: it accepts later entries, and the chain is intact', async () => {
    const { lines } = await traced(
      ['-P', `${file}-wal`, '-e', 'inject=fsync,fdatasync:error=EIO:when=4'],
      ['k', '30', '1'],
    );
    expect(lines.some((line) => line.startsWith('rejected'))).toBe(true);
    expect(lines.at(-1)).toMatch(/^ack k-29 /);
    await expectAcknowledged(lines);
  });
});

/** Expects every acknowledged entry in the file under its number, and an intact file. */
async function expectAcknowledged(lines: readonly string[]): Promise<number> {
  const report = verifyFile(file);
  expect(isSound(report), JSON.stringify(report)).toBe(true);
  const log = await openAuditLog({ path: file });
  const stored = new Map((await log.read('crash-test')).map((entry) => [entry.clientKey, entry.seq]));
  await log.close();
  const acks = lines.flatMap((line) => {
    const match = /^ack (\S+) (\d+)$/.exec(line);
    return match === null ? [] : [[match[1] ?? '', Number(match[2])] as const];
  });
  for (const [key, seq] of acks) expect(stored.get(key), key).toBe(seq);
  return acks.length;
}

it('a process that is killed during its appends, twenty times, loses no acknowledged entry', {
  timeout: 300_000,
}, async () => {
  const lines: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    const child = spawn(process.execPath, [appender, file, `round${round}`, '1000000', '8'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    let doomed = false;
    for await (const line of createInterface({ input: child.stdout })) {
      // A line that the kill cut off does not count as an acknowledgement.
      lines.push(line);
      if (doomed || !line.startsWith('ack')) continue;
      doomed = true;
      setTimeout(() => child.kill('SIGKILL'), 20 + ((round * 37) % 150));
    }
    await ended;
  }
  expect(lines.filter((line) => line === 'open')).toHaveLength(20);
  expect(await expectAcknowledged(lines)).toBeGreaterThan(100);
});
