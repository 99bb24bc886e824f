// Whatever trick a command uses to leave a listener or a process, it is ended and named.

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatAddress, limitNames, listListeners, newListeners } from './left-behind.ts';
import { commandEnvironment } from './process.ts';
import { runCommand } from './shell.ts';

let home: string;
let port: number;
let opened: Server | undefined;
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'oplab-left-'));
  port = await freePort();
});
afterEach(async () => {
  opened?.close();
  opened = undefined;
  await rm(home, { recursive: true, force: true });
});

async function listen(at = 0): Promise<number> {
  opened = createServer();
  await new Promise<void>((resolve, reject) => {
    opened?.once('error', reject).listen(at, '127.0.0.1', resolve);
  });
  const address = opened.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Below the ports that the system hands out, so that no other program takes it meanwhile. */
async function freePort(): Promise<number> {
  for (;;) {
    const candidate = 10_000 + Math.floor(Math.random() * 20_000);
    const free = await listen(candidate).catch(() => 0);
    await new Promise((resolve) => opened?.close(resolve));
    if (free !== 0) return free;
  }
}

function run(command: string, ownListeners?: readonly string[]) {
  return runCommand(
    { command, timeoutSeconds: 20 },
    {
      environment: commandEnvironment(home, process.env.PATH ?? '/usr/bin:/bin', path.join(home, '.kube/config')),
      directory: home,
      wholeContainer: false,
      ...(ownListeners === undefined ? {} : { ownListeners }),
    },
    () => undefined,
    new AbortController().signal,
  );
}

/** A program that listens until it is killed, and says when it does. */
const listener = (module: string, how: string, then = '') =>
  `const s=require('${module}')${how};s.once('listening',()=>{require('fs').writeFileSync('up','');${then}});` +
  'setTimeout(()=>{},60000)';
const node = (program: string) => `node -e "${program}"`;
const quiet = '>/dev/null 2>&1 </dev/null';
const started = 'for i in $(seq 50); do [ -e up ] && break; sleep 0.1; done; echo started';
const tcp = (then = '') => listener('net', `.createServer().listen(${port},'127.0.0.1')`, then);

const tricks: [string, (program: string) => string][] = [
  ['&', (program) => `${program} ${quiet} & ${started}`],
  ['nohup', (program) => `nohup ${program} ${quiet} & ${started}`],
  ['disown', (program) => `${program} ${quiet} & disown -a; ${started}`],
  ['setsid', (program) => `setsid ${program} ${quiet} & ${started}`],
  ['setsid --fork', (program) => `setsid --fork ${program} ${quiet}; ${started}`],
  ['a double fork', (program) => `( ( ${program} ${quiet} & ) & ); ${started}`],
  [
    'a double fork in a new session',
    (program) => `setsid bash -c '(setsid ${program.replaceAll("'", "'\\''")} ${quiet} &) &'; ${started}`,
  ],
  ['another name', (program) => `(exec -a '[kworker/0:1]' ${program} ${quiet} & ); ${started}`],
  [
    'a copy that is deleted',
    (program) => `cp "$(command -v node)" ./n && (${program.replace(/^node/, './n')} ${quiet} &); ${started}; rm n`,
  ],
  ['a trap for SIGTERM and SIGHUP', (program) => `(trap '' TERM HUP; ${program} ${quiet} & ); ${started}`],
  [
    'a process that stops itself',
    (program) => `${program.replace("'up','')", "'up','');process.kill(process.pid,'SIGSTOP')")} ${quiet} & ${started}`,
  ],
];

describe('a listener that is left with', () => {
  it.each(tricks)('%s is closed and named', async (_, leave) => {
    const exit = await run(leave(node(tcp())));
    expect(exit.stdout).toBe('started\n');
    expect(exit.leftBehind).toContain(`listener on tcp 127.0.0.1:${port} (closed)`);
    expect(exit.leftBehind.filter((name) => name.startsWith('process "'))).not.toEqual([]);
    // The kernel closes the socket of a process that was killed a moment later.
    await expect
      .poll(async () => (await listListeners()).map(({ name }) => name), { timeout: 5000 })
      .not.toContain(`tcp 127.0.0.1:${port}`);
  });

  it.each([
    ['IPv6', 'net', ".createServer().listen(PORT,'::1')", () => `tcp [::1]:${port}`],
    ['every address', 'net', '.createServer().listen(PORT)', () => `tcp [::]:${port}`],
    ['UDP', 'dgram', ".createSocket('udp4').bind(PORT,'127.0.0.1')", () => `udp 127.0.0.1:${port}`],
    ['UDP over IPv6', 'dgram', ".createSocket('udp6').bind(PORT,'::1')", () => `udp [::1]:${port}`],
    ['a path', 'net', ".createServer().listen('./left.sock')", () => 'unix ./left.sock'],
    [
      'an abstract name',
      'net',
      ".createServer().listen(String.fromCharCode(0)+'left-PORT')",
      () => `unix @left-${port}`,
    ],
  ])('%s is closed and named', async (_, module, how, name) => {
    const program = node(listener(module, how.replaceAll('PORT', String(port))));
    const exit = await run(`${program} ${quiet} & ${started}`);
    expect(exit.leftBehind).toContain(`listener on ${name()} (closed)`);
  });

  const python = hasPython();
  it.runIf(python)('python, from a file in memory that has no name', async () => {
    await writeFile(
      path.join(home, 'left.py'),
      `import os, sys\nfd = os.memfd_create('x')\nwith open(os.path.realpath(sys.executable), 'rb') as f: os.write(fd, f.read())\n` +
        `code = "import socket,time;s=socket.socket();s.bind(('127.0.0.1',${port}));s.listen();open('up','w');time.sleep(60)"\n` +
        `if os.fork() == 0:\n  os.setsid()\n  os.execve(fd, ['[migration/0]', '-c', code], dict(os.environ, PYTHONHOME=sys.prefix))\n`,
    );
    const exit = await run(`python3 left.py ${quiet}; ${started}`);
    expect(exit.leftBehind).toContain(`listener on tcp 127.0.0.1:${port} (closed)`);
  });
});

function hasPython(): boolean {
  try {
    execFileSync('python3', ['-c', 'import os; os.memfd_create'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

it('a process that listens on nothing is named as well', async () => {
  const exit = await run(`setsid sleep 98${process.pid} & echo done`);
  expect(exit).toMatchObject({ killedProcesses: 1, leftBehind: [`process "sleep 98${process.pid}" (killed)`] });
});

describe('a listener that outlives all processes of the command', () => {
  // As one that a command has made the server itself open.
  const openLater = () => setTimeout(() => void listen(port), 200);

  it('is named', async () => {
    openLater();
    expect((await run('sleep 1', [])).leftBehind).toContain(`listener on tcp 127.0.0.1:${port} (still open)`);
  });

  it("is not named if it is the server's own", async () => {
    openLater();
    const { leftBehind } = await run('sleep 1', [`tcp 127.0.0.1:${port}`]);
    expect(leftBehind.join()).not.toContain(String(port));
  });

  it('is not named if it was there before', async () => {
    await listen(port);
    expect((await run('true', [])).leftBehind.join()).not.toContain(String(port));
  });
});

it('reads addresses as the kernel prints them', () => {
  expect(formatAddress('0100007F:2409')).toBe('127.0.0.1:9225');
  expect(formatAddress('00000000:0016')).toBe('0.0.0.0:22');
  expect(formatAddress('00000000000000000000000000000000:1F90')).toBe('[::]:8080');
  expect(formatAddress('00000000000000000000000001000000:1F90')).toBe('[::1]:8080');
  expect(formatAddress('B80D01200000000067452301EFCDAB89:0050')).toBe('[2001:db8::123:4567:89ab:cdef]:80');
  expect(formatAddress('0000000000000000FFFF00000100007F:0050')).toBe('[::ffff:7f00:1]:80');
});

it('compares sockets by their inode, because an address can be used again', () => {
  const old = { name: 'tcp 127.0.0.1:1', inode: '1' };
  const again = { name: 'tcp 127.0.0.1:1', inode: '2' };
  expect(newListeners([old], [old, again])).toEqual([again]);
});

it('keeps the list of what is left short', () => {
  const names = Array.from({ length: 200 }, (_, index) => `process "${index}" (killed)`);
  expect(limitNames(names)).toHaveLength(9);
  expect(limitNames(names).at(-1)).toBe('192 more');
  expect(limitNames(['a', 'a'])).toEqual(['a']);
});
