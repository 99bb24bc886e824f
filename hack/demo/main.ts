// `npm run demo`: a real TiKV cluster is broken, an Incident is applied, an agent repairs it, checks prove it.
//
// -- --fresh   install operator and patient anew even if they are there

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import pc from 'picocolors';
import { parse } from 'yaml';
import { type Incident, incident } from '../../src/api/incident.ts';
import { isTrue } from '../../src/api/meta.ts';
import { run } from '../child.ts';
import { down } from '../cluster/down.ts';
import { binDir, kubeconfigPath } from '../cluster/names.ts';
import { clusterExists } from '../cluster/observe.ts';
import { type ModelChoice, modelFromEnvironment } from '../operator/install.ts';
import { soak } from '../patient/check.ts';
import { inject } from '../patient/inject.ts';
import { duration, main, runSteps } from '../progress.ts';
import { prepareEndToEnd } from './prepare.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const cli = path.join(root, 'dist/main.mjs');
const target = { namespace: 'tikv', release: 'tikv' };

const env = { KUBECONFIG: kubeconfigPath, PATH: `${binDir}:${process.env.PATH ?? ''}` };

/** What a run leaves in reports/demo.json. */
interface DemoReport {
  at: string;
  incident: string;
  phase: string;
  verified: boolean;
  model: string;
  entries: number;
  chainValid: boolean;
  ledgerLost: number;
  costMilliUSD: number;
  seconds: Record<string, number>;
}

const stages: Record<string, number> = {};

async function stage<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    stages[name] = Math.round((performance.now() - started) / 100) / 10;
  }
}

const heading = (text: string) => console.log(`\n${pc.bold(`== ${text}`)}`);

async function kubectl(args: string[], signal: AbortSignal, input?: string): Promise<string> {
  const options = input === undefined ? { env, signal } : { env, signal, input };
  return (await run('kubectl', args, options)).stdout.trim();
}

const oplab = (args: string[], signal: AbortSignal, echo = true) =>
  run('node', [cli, ...args], { env, signal, allowFailure: true, echo });

/** Says plainly who thinks. */
function introduce(model: ModelChoice): void {
  if (model === 'claude')
    console.log('Model: Claude, with the key from ANTHROPIC_API_KEY. What the agent sees goes to its vendor.');
  else
    console.log(
      `Model: ${pc.yellow('rehearsal-1, a stand-in for Claude')}: it follows written rules over real command output. Set ANTHROPIC_API_KEY for Claude.`,
    );
}

async function breakPatient(signal: AbortSignal): Promise<void> {
  await runSteps(
    [
      {
        title: 'TiKV is scaled down by one; waiting until PD says Disconnected',
        expectedSeconds: 30,
        run: ({ note }) => inject('store-scaled-down', { ...target, kubeconfig: kubeconfigPath, signal, note }),
      },
    ],
    { signal },
  );
}

/** Applies the example and follows the session to its end. */
async function repair(name: string, namespace: string, signal: AbortSignal): Promise<Incident> {
  const file = path.join(root, 'examples/incident.yaml');
  await kubectl(['-n', namespace, 'delete', 'incident', name, '--ignore-not-found', '--timeout=60s'], signal);
  console.log(pc.dim(`$ kubectl apply -f ${path.relative(root, file)}`));
  console.log(await kubectl(['apply', '-f', file], signal));
  console.log(pc.dim(`$ oplab incident watch ${name} -n ${namespace}`));
  await oplab(['incident', 'watch', name, '-n', namespace], signal);
  for (;;) {
    const seen = incident.parse(
      JSON.parse(await kubectl(['-n', namespace, 'get', 'incident', name, '-o', 'json'], signal)),
    );
    if (isTrue(seen.status?.conditions, 'Finished')) return seen;
    await sleep(1000, undefined, { signal });
  }
}

function nextSteps(name: string, namespace: string): string {
  return `
Everything is still up. To look around:
  export KUBECONFIG=${kubeconfigPath} PATH=${binDir}:$PATH
  kubectl get incidents -A
  kubectl -n ${namespace} get incident ${name} -o yaml      the trail's tail in status
  oplab audit show ${name} -n ${namespace} --full           all that was thought, run, seen and changed
  npm run patient:check                             judge the TiKV cluster yourself
Break it yourself, then apply examples/incident.yaml again:
  kubectl -n ${namespace} scale statefulset tikv-tikv --replicas=2
To remove everything: npm run demo:down
`;
}

await main(async (signal) => {
  parseArgs({ options: {} });
  const started = performance.now();
  const model = modelFromEnvironment();
  introduce(model);
  const manifest = incident
    .omit({ metadata: true, status: true })
    .loose()
    .parse(parse(await readFile(path.join(root, 'examples/incident.yaml'), 'utf8')));
  const { name, namespace } = manifest.metadata as { name: string; namespace: string };
  const clusterWasThere = await clusterExists(signal);
  try {
    heading('1. A cluster, the operator, a patient');
    await stage('prepare', () => prepareEndToEnd(signal, { model }));

    heading('2. The fault');
    await stage('inject', () => breakPatient(signal));

    heading('3. The Incident');
    const ended = await stage('repair', () => repair(name, namespace, signal));

    heading('4. The proof');
    const [shown, verdict, audit] = await stage('proof', async () => {
      const show = await oplab(['incident', 'show', name, '-n', namespace], signal);
      // A store that has just come back needs a moment until every region answers; a loss stays a loss.
      const judged = await soak({ ...target, kubeconfig: kubeconfigPath, signal }, { seconds: 0, withinSeconds: 120 });
      return [show, judged, await oplab(['audit', 'verify', name, '-n', namespace], signal)] as const;
    });

    const report: DemoReport = {
      at: new Date().toISOString(),
      incident: `${namespace}/${name}`,
      phase: ended.status?.phase ?? 'unknown',
      verified: isTrue(ended.status?.conditions, 'Verified'),
      model: ended.status?.attempts?.at(-1)?.class.model ?? 'none',
      entries: ended.status?.audit?.entries ?? 0,
      chainValid: audit.code === 0,
      ledgerLost: verdict.ledger.ledgerLost,
      costMilliUSD: ended.status?.usage?.costMilliUSD ?? 0,
      seconds: { ...stages, total: Math.round((performance.now() - started) / 100) / 10 },
    };
    await mkdir(path.join(root, 'reports'), { recursive: true });
    await writeFile(path.join(root, 'reports/demo.json'), `${JSON.stringify(report, null, 2)}\n`);
    const good =
      shown.code === 0 &&
      report.phase === 'Resolved' &&
      report.verified &&
      report.chainValid &&
      report.ledgerLost === 0 &&
      verdict.healthy;
    console.log(
      `\n${good ? pc.green('✓') : pc.red('✗')} ${report.incident}: ${report.phase}, verified ${report.verified}, model ${report.model}, ${report.entries} entries, chain ${report.chainValid ? 'valid' : 'BROKEN'}, acknowledged writes lost: ${report.ledgerLost}, ${duration(report.seconds.total ?? 0)} (reports/demo.json)`,
    );
    if (!verdict.healthy)
      console.log(
        `  not healthy: ${verdict.checks
          .filter((check) => !check.passing)
          .map((check) => check.name)
          .join(', ')}`,
      );
    console.log(nextSteps(name, namespace));
    return good ? 0 : 1;
  } catch (error) {
    // Ctrl-C: what this run made goes again; a cluster that was there before stays as it was found.
    if (signal.aborted && !clusterWasThere) {
      process.stderr.write('\ninterrupted: removing the cluster that this run made\n');
      await down();
    }
    throw error;
  }
});
