// What demo and end-to-end tests stand on: cluster, images, operator, patient. Each step is skipped when it is done already.

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureDocker } from '../../hack/cluster/docker.ts';
import { binDir, kubeconfigPath, root } from '../../hack/cluster/names.ts';
import { canPull } from '../../hack/cluster/registry.ts';
import { clusterUp } from '../../hack/cluster/up.ts';
import { ensureImages, oplabTag } from '../../hack/images.ts';
import { runSteps } from '../../hack/progress.ts';
import { goBuilds } from '../../hack/toolchain/recipes.ts';
import { buildOf, compileSteps } from '../../hack/toolchain/tools.ts';
import { installOperator, type ModelChoice } from '../operator/install.ts';
import { patientUp } from '../patient/up.ts';

/** The programs that tests start on loopback: a control plane and a patient. */
const apiTestPrograms = ['kube-apiserver', 'etcd', 'kubectl', 'pd-server', 'tikv-server', 'oplab-load'];

/** Whether a cluster cannot be had here before something is compiled from source. */
export async function mustCompile(signal: AbortSignal): Promise<boolean> {
  if (compileSteps(goBuilds, signal).length === 0) return false;
  await ensureDocker(signal);
  return !(await canPull(signal));
}

export async function prepareApiTests(signal: AbortSignal): Promise<void> {
  await runSteps(compileSteps([...new Set(apiTestPrograms.map(buildOf))], signal), { signal });
}

export async function prepareEndToEnd(
  signal: AbortSignal,
  options: { model?: ModelChoice; monitors?: boolean } = {},
): Promise<void> {
  await clusterUp(signal);
  let loaded: readonly string[] = [];
  await runSteps(
    [
      {
        title: 'images, into the cluster',
        expectedSeconds: 20,
        run: async () => {
          loaded = await ensureImages(signal);
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

/** Puts `oplab` and `kubectl oplab` beside the cluster's tools, on the Node that this checkout brings. */
async function linkCommandLine(): Promise<void> {
  const node = path.join(root, 'node_modules/node/bin/node');
  const script = `#!/bin/sh\nexec '${node}' '${path.join(root, 'dist/main.mjs')}' "$@"\n`;
  for (const name of ['oplab', 'kubectl-oplab']) await writeFile(path.join(binDir, name), script, { mode: 0o755 });
}
