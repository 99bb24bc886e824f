// The commands of CONTRIBUTING.md that run the controller and the gateway on the host, against a
// cluster with oplab, under a debugger.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { blocks } from '../support/docs-blocks.ts';
import { eventually } from '../support/eventually.ts';
import { child, kubectl, readIncident, tryKubectl } from '../support/live.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const INCIDENT = ['tikv', 'host-run'] as const;

let running: ChildProcess[] = [];
let output = '';

afterEach(async () => {
  for (const one of running) {
    if (one.exitCode !== null || one.pid === undefined) continue;
    const ended = once(one, 'exit');
    process.kill(-one.pid, 'SIGTERM');
    await ended;
  }
  running = [];
  await tryKubectl('-n', INCIDENT[0], 'delete', 'incident', INCIDENT[1], '--wait=false');
  for (const name of ['oplab-controller', 'oplab-gateway']) {
    await tryKubectl('-n', 'oplab-system', 'scale', 'deployment', name, '--replicas=1');
  }
});

/** Types a block into a terminal of its own, where its last command continues. */
function openTerminal(block: string): void {
  const shell = spawn('bash', ['-euo', 'pipefail', '-c', block], { cwd: root, detached: true });
  for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  running.push(shell);
}

async function answers(url: string): Promise<boolean> {
  return await fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

it('the commands in CONTRIBUTING run both processes on the host', async () => {
  const typed = await blocks('CONTRIBUTING.md', 'sh', '## Debug a process on the host');
  const [install = '', controller = '', gateway = '', list = '', ...more] = typed;
  expect(more, 'blocks that nothing types').toEqual([]);
  const environment = install.split('\n').find((line) => line.startsWith('export KUBECONFIG='));
  expect(environment).toBeDefined();

  await child('bash', ['-euo', 'pipefail', '-c', `${install.trimEnd()} --wait`], { cwd: root, timeoutMs: 300_000 });

  // Other tests need the inspector's default port for themselves.
  expect(controller).toContain('--inspect ');
  openTerminal(`${environment}\n${controller.replace('--inspect ', '--inspect=19229 ')}`);
  const ready = (port: number) => async () => {
    if (await answers(`http://127.0.0.1:${port}/readyz`)) return true;
    throw new Error(output.slice(-2000));
  };
  await eventually(ready(9090), { what: 'a controller that is ready', withinMs: 90_000, everyMs: 500 });
  expect(await answers('http://127.0.0.1:19229/json/version')).toBe(true);
  await kubectl('apply', '-f', path.join(root, 'examples/incident.yaml'), '--dry-run=server');
  await child(
    'bash',
    [
      '-euo',
      'pipefail',
      '-c',
      `kubectl create --dry-run=client -o json -f examples/incident.yaml |
      jq '.metadata.name = "${INCIDENT[1]}" | .metadata.namespace = "${INCIDENT[0]}"' | kubectl create -f -`,
    ],
    { cwd: root },
  );
  await eventually(async () => (await readIncident(...INCIDENT)).status?.phase === 'Running', {
    what: 'an attempt by the controller on the host',
    withinMs: 90_000,
    everyMs: 500,
  });
  await kubectl('-n', INCIDENT[0], 'delete', 'incident', INCIDENT[1], '--timeout=90s');

  output = '';
  await rm(path.join(root, '.oplab/gateway'), { recursive: true, force: true });
  await tryKubectl('-n', 'oplab-system', 'delete', 'configmap', 'audit-anchor-of-host');
  openTerminal(`${environment}\n${gateway}`);
  await eventually(ready(9091), { what: 'a gateway that is ready', withinMs: 90_000, everyMs: 500 });
  expect(await answers('http://127.0.0.1:9230/json/version')).toBe(true);
  const listed = await child('bash', ['-euo', 'pipefail', '-c', `${environment}\n${list}`], { cwd: root });
  // The log of this gateway is new.
  expect(listed.stderr).toContain('No sessions found');
});
