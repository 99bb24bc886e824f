// `npm run e2e -- --scenario NAME`: breaks the patient, lets an agent repair it, checks the repair.
//
// `npm run e2e:all` runs all scenarios.
//
//   --scenario NAME                 a scenario to run; may be repeated
//   --list                          lists the scenarios
//   --namespace NS --release NAME   uses another patient
//   --set KEY=VALUE                 a value for the patient's chart; may be repeated
//   --text TEXT                     the summary of the Incident; needs --by-hand
//   --hold SECONDS                  how long the fault must last without an agent first (15)
//   --by-hand                       the runner opens the Incident, even if Monitors would
//
// Examples:
//   npm run e2e -- --list
//   npm run e2e -- --scenario store-scaled-down
//   npm run e2e -- --scenario bad-config --by-hand --text "Customers complain" --namespace shop --release blue
//   npm run e2e:all

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { kubeconfigPath, root } from '../../hack/cluster/names.ts';
import { duration, main, runSteps } from '../../hack/progress.ts';
import { errorMessage, InvalidInput } from '../../src/errors.ts';
import { patientDefaults } from '../patient/session.ts';
import { patientUp } from '../patient/up.ts';
import { prepareEndToEnd } from '../prepare.ts';
import { scenarios } from '../scenarios/all.ts';
import { dockerStoreStopped } from '../scenarios/docker/trial.ts';
import { runTrial, type TrialReport } from './run-trial.ts';
import { type TikvPatient, tikvTrial } from './tikv-trial.ts';
import type { Trial } from './trial.ts';

const names = [...scenarios.map(({ name }) => name), dockerStoreStopped.name];

/** @throws InvalidInput with the names that exist. */
function trialNamed(name: string, patient: TikvPatient): Trial {
  const scenario = scenarios.find((candidate) => candidate.name === name);
  if (scenario !== undefined) return tikvTrial(scenario, patient);
  if (name === dockerStoreStopped.name) return dockerStoreStopped;
  throw new InvalidInput(`there is no scenario "${name}"; choose from ${names.join(', ')}`);
}

const line = (report: TrialReport) =>
  `${report.passed ? '✓' : '✗'} ${report.scenario.padEnd(24)}${report.openedBy.padEnd(30)}${String(report.detected).padStart(7)}${String(report.repaired).padStart(9)}  ${report.phase.padEnd(10)} ${String(report.turns).padStart(5)}${String(report.entries).padStart(8)}${String(report.costMilliUSD).padStart(6)}${String(report.ledgerLost).padStart(6)}`;

await main(async (signal) => {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      all: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      namespace: { type: 'string', short: 'n', default: patientDefaults.namespace },
      release: { type: 'string', default: patientDefaults.release },
      set: { type: 'string', multiple: true, default: [] },
      text: { type: 'string' },
      hold: { type: 'string', default: '15' },
      'by-hand': { type: 'boolean', default: false },
    },
  });
  if (values.list) {
    console.log(names.join('\n'));
    return 0;
  }
  const wanted = values.all ? names : values.scenario;
  if (wanted.length === 0)
    throw new InvalidInput(`use --scenario NAME or --all; the scenarios are ${names.join(', ')}`);
  const holdSeconds = Number(values.hold);
  if (!Number.isFinite(holdSeconds) || holdSeconds < 0) throw new InvalidInput('--hold takes a number of seconds');
  if (values.text !== undefined && !values['by-hand'])
    throw new InvalidInput('--text needs --by-hand: a Monitor writes its own summary');
  const watched = values['by-hand'] ? [] : ['monitors.enabled=true'];
  const patient = { namespace: values.namespace, release: values.release, set: [...watched, ...values.set] };
  const trials = wanted.map((name) => trialNamed(name, patient));

  const started = performance.now();
  await prepareEndToEnd(signal);
  await runSteps(
    [
      {
        title: `release ${patient.release} in namespace ${patient.namespace}${watched.length === 0 ? '' : ', with its Monitors'}`,
        expectedSeconds: 20,
        run: ({ note }) => patientUp({ ...patient, kubeconfig: kubeconfigPath, signal, note }),
      },
    ],
    { signal },
  );
  const reports: TrialReport[] = [];
  const broken: { scenario: string; error: string }[] = [];
  const save = async () => {
    await mkdir(path.join(root, 'reports'), { recursive: true });
    const seconds = Math.round((performance.now() - started) / 1000);
    await writeFile(
      path.join(root, 'reports/scenarios.json'),
      `${JSON.stringify({ at: new Date().toISOString(), cores: cpus().length, seconds, scenarios: reports, broken }, null, 2)}\n`,
    );
  };
  for (const trial of trials) {
    try {
      await runSteps(
        [
          {
            title: `${trial.name}: ${trial.summary}`,
            expectedSeconds: 200,
            run: async ({ note }) => {
              const context = { kubeconfig: kubeconfigPath, signal, note };
              const text = values.text === undefined ? {} : { text: values.text };
              reports.push(await runTrial(trial, context, { holdSeconds, byHand: values['by-hand'], ...text }));
            },
          },
        ],
        { signal },
      );
      const last = reports.at(-1);
      if (last !== undefined) for (const fault of last.faults) console.log(`  ✗ ${fault}`);
    } catch (error) {
      signal.throwIfAborted();
      broken.push({ scenario: trial.name, error: errorMessage(error) });
      console.log(`  ✗ ${errorMessage(error)}`);
    }
    await save();
  }
  console.log(
    `\n  ${'scenario'.padEnd(24)}${'opened by'.padEnd(30)}detected repaired  phase      turns entries  m$  lost`,
  );
  for (const report of reports) console.log(line(report));
  for (const { scenario, error } of broken) console.log(`✗ ${scenario}: ${error.split('\n')[0]}`);
  const passed = reports.filter((report) => report.passed).length;
  console.log(
    `${passed} passed, ${trials.length - passed} failed, ${duration((performance.now() - started) / 1000)} (reports/scenarios.json)`,
  );
  return passed === trials.length ? 0 : 1;
});
