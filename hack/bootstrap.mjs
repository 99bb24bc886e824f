#!/usr/bin/env node
// Runs one of our TypeScript programs from a bare clone: installs the npm packages if needed, then hands over to Node 24.
//
// This is the only program of ours that has to run on the machine's own Node (20 or newer), so it is plain JavaScript
// and imports nothing but Node's own modules. `--help` prints the comment at the head of a program, before anything is
// installed or started. Usage: node hack/bootstrap.mjs <program>.ts [arguments …]
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const node24 = path.join(root, 'node_modules', 'node', 'bin', 'node');

/** Resolves with the exit code of a child that shares our terminal; Ctrl-C reaches it through the process group. */
function run(command, args, environment) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, env: environment, stdio: 'inherit' });
    const forward = (signal) => child.kill(signal);
    // The terminal sends Ctrl-C to the whole process group; swallowing it here lets the child finish its clean-up first.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', forward);
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(signal ? 130 : (code ?? 1)));
  });
}

/** The packages that a lock file names, by folder. Undefined if there is no such file, or half of one. */
function readLock(...file) {
  try {
    const { packages } = JSON.parse(readFileSync(path.join(root, ...file), 'utf8'));
    return new Map(Object.entries(packages).filter(([folder]) => folder !== ''));
  } catch {
    return undefined;
  }
}

/**
 * Whether node_modules has what the lock file asks for, whoever installed it. npm writes the list of what it has
 * installed last of all, so an interrupted installation has none. It leaves out packages for other platforms.
 */
function isInstalled() {
  const wanted = readLock('package-lock.json');
  const found = readLock('node_modules', '.package-lock.json');
  if (wanted === undefined || found === undefined || !existsSync(node24)) return false;
  const isSame = ([folder, { version, integrity }]) => {
    const here = found.get(folder);
    return here !== undefined && here.version === version && here.integrity === integrity;
  };
  const isLeftOut = ([folder, { optional }]) => optional === true && !found.has(folder);
  return (
    [...wanted].every((each) => isSame(each) || isLeftOut(each)) &&
    [...found.keys()].every((folder) => wanted.has(folder))
  );
}

/** What a program says of itself: the comment lines that it begins with. */
function readHelp(script) {
  const lines = readFileSync(path.resolve(root, script), 'utf8').split('\n');
  const head = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith('//')),
  );
  return head.map((line) => line.replace(/^\/\/ ?/, '')).join('\n');
}

const [script, ...args] = process.argv.slice(2);
if (!script) {
  console.error('usage: node hack/bootstrap.mjs <program>.ts [arguments]');
  process.exit(2);
}
if (args.includes('--help') || args.includes('-h')) {
  console.log(readHelp(script));
  process.exit(0);
}
if (!isInstalled()) {
  console.log('==> npm packages are missing or out of date: npm ci (about 40 s)');
  const code = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], process.env);
  if (code !== 0) process.exit(code);
  if (!existsSync(node24)) {
    console.error(
      'npm ci did not bring Node 24 (package node@24); is its install script allowed (package.json, allowScripts)?',
    );
    process.exit(1);
  }
}
const bin = [path.join(root, 'node_modules', '.bin'), path.dirname(node24)].join(path.delimiter);
const environment = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` };
process.exit(await run(node24, ['--disable-warning=ExperimentalWarning', script, ...args], environment));
