#!/usr/bin/env node
// The entry point: starts a process or the CLI, and loads only the code that runs.

import { existsSync } from 'node:fs';
import nodeModule from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { forTerminal } from './audit/controls.ts';
import { errorMessage, isOplabError } from './errors.ts';
import { requireNode } from './node-version.ts';

/** The long-running processes; everything else on the command line belongs to the CLI. */
const processes: Record<string, (args: readonly string[]) => Promise<void>> = {
  controller: async () => (await import('./controller/process.ts')).runController(),
  gateway: async () => (await import('./gateway/process.ts')).runGateway(),
  agent: async () => (await import('./agent/process.ts')).runAgent(),
  sandbox: async (args) => (await import('./sandbox/process.ts')).runSandbox(args),
  'docker-socket': async () => (await import('./docker-socket/process.ts')).runDockerSocket(),
  uninstall: async () => (await import('./controller/uninstall.ts')).runUninstall(),
  rehearsal: async () => (await import('./rehearsal/process.ts')).runRehearsal(),
};

const [name = '', ...args] = process.argv.slice(2);
const start = processes[name];
try {
  requireNode(process.versions.node, process.execPath);
  if (start !== undefined) await start(args);
  else {
    // Only on a user's machine: in a pod, an agent's command could write code into the cache. It is
    // in the user's folder, because others could write code into Node's default, a shared temporary
    // folder. A user without a home, such as nobody, gets none.
    const home = homedir();
    if (existsSync(home)) nodeModule.enableCompileCache(path.join(home, '.cache', 'oplab', 'compile-cache'));
    await (await import('./cli/program.ts')).createProgram().parseAsync(process.argv);
  }
} catch (error) {
  const ours = isOplabError(error);
  process.stderr.write(`oplab: ${ours ? `${error.code}: ` : ''}${forTerminal(errorMessage(error))}\n`);
  process.exitCode = ours ? error.exitCode : 1;
}
