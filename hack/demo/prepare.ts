// What demo and end-to-end tests stand on: cluster, images, operator, patient. Each step is skipped when it is done already.

import { buildBundles } from '../build.ts';
import { kubeconfigPath } from '../cluster/names.ts';
import { clusterUp } from '../cluster/up.ts';
import { ensureImages } from '../images.ts';
import { installOperator, type ModelChoice } from '../operator/install.ts';
import { patientUp } from '../patient/up.ts';
import { runSteps } from '../progress.ts';
import { ensureTool } from '../toolchain/tools.ts';

/** The binaries that test/api starts on loopback. */
export async function prepareApiTests(signal: AbortSignal): Promise<void> {
  for (const tool of ['kube-apiserver', 'etcd', 'kubectl'] as const) await ensureTool(tool, { signal });
}

export async function prepareEndToEnd(signal: AbortSignal, options: { model?: ModelChoice } = {}): Promise<void> {
  await clusterUp(signal);
  await runSteps(
    [
      { title: 'bundles', expectedSeconds: 3, run: async () => void (await buildBundles()) },
      { title: 'images, into the cluster', expectedSeconds: 20, run: ({ note }) => ensureImages(signal, note) },
      {
        title: 'the operator (helm/oplab)',
        expectedSeconds: 15,
        run: () => installOperator({ kubeconfig: kubeconfigPath, model: options.model ?? 'rehearsal', signal }),
      },
      {
        title: 'the patient: 3 PD, 3 TiKV, Prometheus, load (helm/tikv)',
        expectedSeconds: 75,
        run: ({ note }) => patientUp({ kubeconfig: kubeconfigPath, signal, note }),
      },
    ],
    { signal },
  );
}
