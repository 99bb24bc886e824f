// `npm run demo`: a TiKV cluster is broken, an agent repairs it, and checks prove the repair.
//
// Six chapters: healthy, load, fault, detected, repair, verified. The cluster stays up afterwards;
// `npm run demo:down` deletes it.
//
// Usage: npm run demo [-- --monitors] [-- --tui]
//   --monitors   a Monitor opens the Incident; otherwise examples/incident.yaml is applied
//   --tui        shows the demo in `oplab top` (needs a terminal), with --monitors
//
// Environment: ANTHROPIC_API_KEY   use Claude; without it, a rehearsal model follows written rules
//              NO_COLOR=1          no colors
//
// Examples:
//   npm run demo
//   npm run demo -- --monitors
//   npm run demo -- --tui
//   ANTHROPIC_API_KEY=… npm run demo

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { createColors } from 'picocolors';
import { run } from '../../hack/child.ts';
import { down } from '../../hack/cluster/down.ts';
import { binDir, kubeconfigPath, root } from '../../hack/cluster/names.ts';
import { clusterExists } from '../../hack/cluster/observe.ts';
import { duration, main } from '../../hack/progress.ts';
import { isTrue } from '../../src/api/meta.ts';
import { errorMessage } from '../../src/errors.ts';
import { type ModelChoice, modelFromEnvironment } from '../operator/install.ts';
import { soak } from '../patient/check.ts';
import { inject } from '../patient/inject.ts';
import type { PatientTarget } from '../patient/session.ts';
import { prepareEndToEnd } from '../prepare.ts';
import { Incidents } from '../trials/incidents.ts';
import { type Before, clearStage, detect, env, finished, openedByMonitor } from './incident.ts';
import { measureLoad } from './load.ts';
import { requireScreen, type Teller, tellInText, tellOnScreen } from './tell.ts';

const cli = path.join(root, 'dist/main.mjs');
const target = { namespace: 'tikv', release: 'tikv' };
const colors = createColors(process.stdout.isTTY === true && !process.env.NO_COLOR);

/** The report of a run, in reports/demo.json. */
interface DemoReport {
  at: string;
  incident: string;
  /** The Monitor that opened the Incident; null if it was applied by hand. */
  openedBy: string | null;
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
/** Monitors that are suspended until the demo is over. */
const setAside: string[] = [];

async function stage<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    stages[name] = Math.round((performance.now() - started) / 100) / 10;
  }
}

const oplab = (args: string[], signal: AbortSignal, echo: boolean) =>
  run('node', [cli, ...args], { env, signal, allowFailure: true, echo });

/** Names the model that is used. */
function introduce(model: ModelChoice): void {
  if (model === 'claude')
    console.log('Model: Claude, with the key from ANTHROPIC_API_KEY. What the agent sees is sent to Anthropic.');
  else
    console.log(
      `Model: ${colors.yellow('rehearsal-1, a stand-in for Claude')}: it follows written rules over real command output. Set ANTHROPIC_API_KEY for Claude.`,
    );
}

/**
 * Breaks the patient. Returns when PD or a Monitor notices, since an agent may be quicker than PD.
 */
async function breakIt(
  patient: PatientTarget,
  incidents: Incidents,
  before: Before,
  note: (text: string) => void,
): Promise<void> {
  const seen = new AbortController();
  const signal = AbortSignal.any([patient.signal, seen.signal]);
  const injected = inject('store-scaled-down', { ...patient, signal, note });
  const opened = openedByMonitor(incidents, before, signal);
  try {
    await Promise.race([injected, opened]);
  } finally {
    seen.abort();
    await Promise.allSettled([injected, opened]);
  }
}

/** Resumes the suspended Monitors, also after a failure or an interrupt. */
async function backToWork(namespace: string): Promise<void> {
  const signal = AbortSignal.timeout(20_000);
  const incidents = new Incidents({ kubeconfig: kubeconfigPath, signal, note: () => undefined }, namespace);
  await incidents.watch(setAside, true).catch((error: unknown) => {
    process.stderr.write(`Monitors ${setAside.join(', ')} are still suspended: ${errorMessage(error)}\n`);
  });
}

/** The six chapters, the same on screen and as text. */
async function tellStory(
  teller: Teller,
  incidents: Incidents,
  started: number,
  signal: AbortSignal,
): Promise<{ good: boolean; report: DemoReport }> {
  const patient = { ...target, kubeconfig: kubeconfigPath, signal };
  const { namespace } = target;

  teller.chapter(
    'healthy',
    'Three PD members and three TiKV stores. PD, Kubernetes and the ledger of the load are queried.',
  );
  const before = await stage('healthy', async () => {
    const cleared = await teller.step('waiting for Monitors to clear their alarms', 10, (note) =>
      clearStage(incidents, namespace, signal, note),
    );
    setAside.push(...cleared.aside);
    const health = await teller.step('checking the patient', 10, () =>
      soak(patient, { seconds: 0, withinSeconds: 120 }),
    );
    const failing = health.checks.filter((check) => !check.passing).map((check) => check.name);
    teller.say(
      failing.length === 0
        ? `healthy: ${health.checks.length} checks pass, ${cleared.watching} Monitors watch`
        : `NOT healthy: ${failing.join(', ')}`,
    );
    if (cleared.aside.length > 0)
      teller.say(`suspended for the demo, because they already have an alarm: ${cleared.aside.join(', ')}`);
    return cleared;
  });

  teller.chapter('load', 'Transactions run continuously. A ledger records every acknowledged one.');
  await stage('load', async () => {
    const load = await teller.step('counting acknowledged transactions', 5, () => measureLoad(patient, 5));
    teller.say(
      `${load.perSecond} transactions a second, P99 ${load.p99Milliseconds.toFixed(0)} ms, ${load.total} acknowledged so far`,
    );
  });

  teller.chapter('fault', 'One TiKV store is removed: StatefulSet tikv-tikv is scaled from 3 to 2 replicas.');
  await stage('inject', () =>
    teller.step('scaling TiKV down by one, until PD reports the store as Disconnected', 30, (note) =>
      breakIt(patient, incidents, before, note),
    ),
  );

  teller.chapter(
    'detected',
    before.watching === 0
      ? 'There is no Monitor, so examples/incident.yaml is applied, as a person would do.'
      : `${before.watching} Monitors watch the patient and open an Incident when a check fails.`,
  );
  const detected = await stage('detect', () =>
    teller.step('waiting for an Incident and its agent', 20, (note) => detect(incidents, before, signal, note)),
  );
  const { name } = detected.metadata;
  const monitor = detected.spec.source?.name;
  const opener = monitor === undefined ? 'applied by hand' : `opened by Monitor ${monitor}`;

  teller.chapter('repair', `Incident ${namespace}/${name}, ${opener}. The agent has a shell and nothing else.`);
  const ended = await stage('repair', async () => {
    if (!teller.onScreen) {
      console.log(colors.dim(`$ oplab incident watch ${name} -n ${namespace}`));
      await oplab(['incident', 'watch', name, '-n', namespace], signal, true);
    }
    return await finished(incidents, name, signal, (text) => {
      if (teller.onScreen) teller.say(text);
    });
  });

  teller.chapter(
    'verified',
    'The proof does not come from the agent, but from the checks, the ledger and the hash chain of the audit log.',
  );
  const [health, audit] = await stage('proof', async () => {
    if (!teller.onScreen) await oplab(['incident', 'show', name, '-n', namespace], signal, true);
    // After a store comes back, it takes a moment until every region responds. A lost write would
    // still be reported.
    const checked = await teller.step('checking the patient again', 20, () =>
      soak(patient, { seconds: 0, withinSeconds: 120 }),
    );
    return [checked, await oplab(['audit', 'verify', name, '-n', namespace], signal, !teller.onScreen)] as const;
  });

  const report: DemoReport = {
    at: new Date().toISOString(),
    incident: `${namespace}/${name}`,
    openedBy: monitor ?? null,
    phase: ended.status?.phase ?? 'unknown',
    verified: isTrue(ended.status?.conditions, 'Verified'),
    model: ended.status?.attempts?.at(-1)?.class.model ?? 'none',
    entries: ended.status?.audit?.entries ?? 0,
    chainValid: audit.code === 0,
    ledgerLost: health.ledger.ledgerLost,
    costMilliUSD: ended.status?.usage?.costMilliUSD ?? 0,
    seconds: { ...stages, total: Math.round((performance.now() - started) / 100) / 10 },
  };
  const good =
    report.phase === 'Resolved' && report.verified && report.chainValid && report.ledgerLost === 0 && health.healthy;
  const failing = health.checks.filter((check) => !check.passing).map((check) => check.name);
  await teller.end(
    `${good ? 'Resolved and verified' : `NOT resolved and verified: ${report.phase}`}, chain ${report.chainValid ? 'valid' : 'BROKEN'}, acknowledged writes lost: ${report.ledgerLost}${failing.length === 0 ? '' : `, not healthy: ${failing.join(', ')}`}`,
  );
  return { good, report };
}

function lastLines(good: boolean, report: DemoReport): string {
  const { incident, phase, verified, model, entries, chainValid, ledgerLost, seconds } = report;
  const [namespace = '', name = ''] = incident.split('/');
  return `
${good ? colors.green('✓') : colors.red('✗')} ${incident}: ${phase}, verified ${verified}, model ${model}, ${entries} entries, chain ${chainValid ? 'valid' : 'BROKEN'}, acknowledged writes lost: ${ledgerLost}, ${duration(seconds.total ?? 0)} (reports/demo.json)

Everything is still up. To look around:
  export KUBECONFIG=${kubeconfigPath} PATH=${binDir}:$PATH
  kubectl get monitors,incidents -A
  oplab top                                         Incidents, sessions and Monitors, live
  oplab audit show ${name} -n ${namespace} --full           every thought, command, output and change
  oplab changes ${name} -n ${namespace}                     each object that the agent changed, before and after
  oplab undo ${name} -n ${namespace} --dry-run              what would be put back
  oplab session post-mortem ${name} -n ${namespace}         the same as a story, in Markdown
  npm run patient:check                             check the TiKV cluster yourself
Break it yourself, and watch:
  kubectl -n ${namespace} scale statefulset tikv-tikv --replicas=2
To remove everything: npm run demo:down
`;
}

await main(async (signal) => {
  const { values } = parseArgs({
    options: { monitors: { type: 'boolean', default: false }, tui: { type: 'boolean', default: false } },
  });
  if (values.tui) requireScreen();
  const started = performance.now();
  const model = modelFromEnvironment();
  introduce(model);
  const clusterWasThere = await clusterExists(signal);
  let teller: Teller | undefined;
  try {
    console.log(`\n${colors.bold('== Preparing: a cluster, the operator, a patient')}`);
    await stage('prepare', () => prepareEndToEnd(signal, { model, monitors: values.monitors || values.tui }));
    teller = values.tui
      ? await tellOnScreen({ namespace: target.namespace, kubeconfig: kubeconfigPath }, signal)
      : tellInText(signal);
    const incidents = new Incidents({ kubeconfig: kubeconfigPath, signal, note: () => undefined }, target.namespace);
    const { good, report } = await tellStory(teller, incidents, started, signal).finally(() =>
      backToWork(target.namespace),
    );
    await mkdir(path.join(root, 'reports'), { recursive: true });
    await writeFile(path.join(root, 'reports/demo.json'), `${JSON.stringify(report, null, 2)}\n`);
    console.log(lastLines(good, report));
    return good ? 0 : 1;
  } catch (error) {
    await teller?.close();
    // Ctrl-C: removes a cluster that this run created, and leaves an existing cluster as it is.
    if (signal.aborted && !clusterWasThere) {
      process.stderr.write('\ninterrupted: removing the cluster that this run created\n');
      await down();
    }
    throw error;
  }
});
