// Prepares what demo and tests need: `node lab/prepare.ts PART`. Steps that are done are skipped.
//
//   api            compiles the programs that the tests against a kube-apiserver start
//   e2e            cluster, images, operator and patient
//   must-compile   only answers: exit code 0 if a cluster needs something compiled first, else 3
//
// Examples:
//   node lab/prepare.ts api
//   node lab/prepare.ts e2e

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureDocker } from '../hack/cluster/docker.ts';
import { binDir, kubeconfigPath, root } from '../hack/cluster/names.ts';
import { canPull } from '../hack/cluster/registry.ts';
import { clusterUp } from '../hack/cluster/up.ts';
import { ensureOplabImages, oplabTag } from '../hack/images.ts';
import { main, runSteps } from '../hack/progress.ts';
import { compileSteps, findBuild } from '../hack/toolchain/tools.ts';
import { installOperator, type ModelChoice } from './operator/install.ts';
import { allBuilds } from './patient/builds.ts';
import { patientImageSteps } from './patient/images.ts';
import { patientUp } from './patient/up.ts';

/** The programs that tests start on loopback: a control plane and a patient. */
const apiTestPrograms = ['kube-apiserver', 'etcd', 'kubectl', 'pd-server', 'tikv-server', 'oplab-load'];

/** Whether a cluster cannot be had here before something is compiled from source. */
export async function mustCompile(signal: AbortSignal): Promise<boolean> {
  if (compileSteps(allBuilds, signal).length === 0) return false;
  await ensureDocker(signal);
  return !(await canPull(signal));
}

/** Compiles what the tests against a kube-apiserver start. */
export async function prepareApiTests(signal: AbortSignal): Promise<void> {
  const builds = new Set(apiTestPrograms.map((program) => findBuild(program, allBuilds)));
  await runSteps(compileSteps([...builds], signal), { signal });
}

/** From whatever is there to a cluster with the operator and a healthy patient. */
export async function prepareEndToEnd(
  signal: AbortSignal,
  options: { model?: ModelChoice; monitors?: boolean } = {},
): Promise<void> {
  await clusterUp(signal, { meanwhile: patientImageSteps });
  let loaded: readonly string[] = [];
  await runSteps(
    [
      {
        title: "oplab's images",
        expectedSeconds: 20,
        run: async () => {
          loaded = await ensureOplabImages(signal);
          await linkCommandLine();
        },
      },
      {
        title: 'the operator (helm/oplab)',
        expectedSeconds: 15,
        run: () =>
          installOperator({
            kubeconfig: kubeconfigPath,
            model: options.model ?? 'rehearsal',
            restart: loaded.includes(oplabTag),
            signal,
          }),
      },
      {
        title: 'the patient: 3 PD, 3 TiKV, Prometheus, load (helm/tikv)',
        expectedSeconds: 75,
        run: ({ note }) =>
          patientUp({
            kubeconfig: kubeconfigPath,
            set: [`monitors.enabled=${options.monitors === true}`],
            signal,
            note,
          }),
      },
    ],
    { signal },
  );
}

/**
 * Puts `oplab` and `kubectl oplab` beside the cluster's tools, on the Node that this checkout
 * brings.
 */
async function linkCommandLine(): Promise<void> {
  const node = path.join(root, 'node_modules/node/bin/node');
  const script = `#!/bin/sh\nexec '${node}' '${path.join(root, 'dist/main.mjs')}' "$@"\n`;
  for (const name of ['oplab', 'kubectl-oplab']) await writeFile(path.join(binDir, name), script, { mode: 0o755 });
}

const parts: Readonly<Record<string, (signal: AbortSignal) => Promise<number | undefined>>> = {
  api: async (signal) => void (await prepareApiTests(signal)),
  e2e: async (signal) => void (await prepareEndToEnd(signal)),
  'must-compile': async (signal) => ((await mustCompile(signal)) ? 0 : 3),
};

if (import.meta.main)
  await main(async (signal) => {
    const prepare = parts[process.argv[2] ?? ''];
    if (prepare === undefined) throw new Error(`usage: node lab/prepare.ts ${Object.keys(parts).join('|')}`);
    return prepare(signal);
  });
