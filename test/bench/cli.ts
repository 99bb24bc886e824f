// `npm run bench`: how long oplab's commands take, compared with kubectl and with Node itself.
//
// Whole processes run alternately against a real kube-apiserver with 20 Incidents. A ratio is the
// median of the ratios of all rounds, so that a busy machine slows both sides. The table is also
// written to reports/bench-cli.json.
//
//   --runs COUNT    rounds (20)
//   --check         exit code 1 if a ratio is above its bound
//
// Examples:
//   npm run bench
//   npm run bench -- --runs 50 --check

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildBundles } from '../../hack/build.ts';
import { root } from '../../hack/cluster/names.ts';
import { main } from '../../hack/progress.ts';
import { ensureTool } from '../../hack/toolchain/tools.ts';
import { InvalidInput } from '../../src/errors.ts';
import { createKubeClient } from '../../src/kube/client.ts';
import { INCIDENTS } from '../../src/kube/resources.ts';
import { installKinds } from '../support/api-server.ts';
import { startControlPlane } from '../support/control-plane.ts';
import { NAMESPACES } from '../support/namespaces.ts';
import { type Candidate, measure, median, quantile, ratio } from './side-by-side.ts';

const INCIDENT_COUNT = 20;
const NAMESPACE = 'tikv';

/** A user accepts at most twice the time that kubectl takes for the same. */
const BOUNDS = [
  { of: 'oplab version', against: 'kubectl version --client', atMost: 2 },
  { of: 'oplab incident list', against: 'kubectl get incidents', atMost: 2 },
];

function candidates(dist: string, kubectl: string, kubeconfig: string): Candidate[] {
  const node = (name: string, ...args: string[]) => ({ name, command: process.execPath, args });
  const oplab = (name: string, ...args: string[]) => node(name, path.join(dist, 'main.mjs'), ...args);
  const where = ['-n', NAMESPACE, '--kubeconfig', kubeconfig];
  return [
    node('node -e 0', '-e', '0'),
    { name: 'kubectl version --client', command: kubectl, args: ['version', '--client'] },
    oplab('oplab version', 'version'),
    { name: 'kubectl get incidents', command: kubectl, args: ['get', 'incidents', ...where] },
    oplab('oplab incident list', 'incident', 'list', ...where),
  ];
}

async function createIncidents(kubeconfig: string): Promise<void> {
  const client = createKubeClient({ kubeconfig });
  await installKinds(client);
  await client.create(NAMESPACES, { metadata: { name: NAMESPACE } });
  for (let number = 1; number <= INCIDENT_COUNT; number += 1) {
    const name = `store-down-${number}`;
    const check = { name: 'stores', http: { service: 'pd', port: 2379, path: '/stores', cel: 'body.count == 3' } };
    await client.create(INCIDENTS, {
      metadata: { name, namespace: NAMESPACE },
      spec: { summary: `Store ${number} is disconnected`, severity: 'critical', verify: { checks: [check] } },
    });
    const tokens = { inputTokens: 90, outputTokens: 800, cacheReadTokens: 40_000, cacheWriteTokens: 9000 };
    const usage = { turns: 7, modelCalls: 9, costMilliUSD: 120, ...tokens };
    const status = { phase: 'Running', message: 'The agent is working', usage };
    await client.patch(INCIDENTS, { name, namespace: NAMESPACE }, { status }, { subresource: 'status' });
  }
}

const ms = (value: number) => `${value.toFixed(0)} ms`.padStart(9);

await main(async (signal) => {
  const { values } = parseArgs({
    options: { runs: { type: 'string', default: '20' }, check: { type: 'boolean', default: false } },
  });
  const rounds = Number(values.runs);
  if (!Number.isInteger(rounds) || rounds < 1) throw new InvalidInput(`--runs ${values.runs}: must be a whole number`);

  const directory = await mkdtemp(path.join(tmpdir(), 'oplab-bench-'));
  const plane = await startControlPlane({ dir: path.join(directory, 'plane'), signal });
  try {
    const dist = path.join(directory, 'dist');
    await buildBundles(dist);
    await createIncidents(plane.kubeconfig);
    const kubectl = await ensureTool('kubectl', { signal });
    // A separate home, where the first round fills the caches of Node and kubectl.
    const env = { HOME: directory, PATH: process.env.PATH };
    const before = loadavg()[0] ?? 0;
    const measured = measure(candidates(dist, kubectl, plane.kubeconfig), rounds, { env, signal });
    const load = { before, after: loadavg()[0] ?? 0 };

    const named = (name: string) => {
      const found = measured.find((each) => each.name === name);
      if (found === undefined) throw new Error(`nothing was measured under the name ${name}`);
      return found;
    };
    const rows = measured.map((each) => ({
      name: each.name,
      medianMs: median(each.times),
      p95Ms: quantile(each.times, 0.95),
      timesNode: ratio(each, named('node -e 0')),
    }));
    const bounds = BOUNDS.map((bound) => ({ ...bound, measured: ratio(named(bound.of), named(bound.against)) }));

    console.log(`${'whole process'.padEnd(26)}${'median'.padStart(9)}${'p95'.padStart(9)}   times node -e 0`);
    for (const { name, medianMs, p95Ms, timesNode } of rows) {
      console.log(`${name.padEnd(26)}${ms(medianMs)}${ms(p95Ms)}   ${timesNode.toFixed(2)}`);
    }
    for (const { of, against, atMost, measured: value } of bounds) {
      const mark = value <= atMost ? '✓' : '✗';
      console.log(`${mark} ${of} takes ${value.toFixed(2)} times as long as ${against}; bound: ${atMost}`);
    }
    console.log(
      `${rounds} rounds; load of the machine ${load.before.toFixed(1)} before, ${load.after.toFixed(1)} after`,
    );
    await mkdir(path.join(root, 'reports'), { recursive: true });
    const report = { measuredAt: new Date().toISOString(), node: process.versions.node, rounds, load, rows, bounds };
    await writeFile(path.join(root, 'reports', 'bench-cli.json'), `${JSON.stringify(report, null, 2)}\n`);
    return values.check && bounds.some(({ measured: value, atMost }) => value > atMost) ? 1 : 0;
  } finally {
    await plane.stop();
    await rm(directory, { recursive: true, force: true });
  }
});
