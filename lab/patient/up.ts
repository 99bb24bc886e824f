// `npm run patient:up`: installs or upgrades the TiKV cluster and waits until it is healthy.
//
//   --namespace NS --release NAME   where (tikv, tikv)
//   --set KEY=VALUE                 values for the chart, as often as wanted
//
// Examples:
//   npm run patient:up
//   npm run patient:up -- --namespace lab --release lab --set tikv.replicas=4

import path from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../../hack/child.ts';
import { root } from '../../hack/cluster/names.ts';
import { canPull } from '../../hack/cluster/registry.ts';
import { main, runSteps } from '../../hack/progress.ts';
import { findBuild, goBuildKey } from '../../hack/toolchain/tools.ts';
import { OplabError } from '../../src/errors.ts';
import { upgradeFlags } from '../operator/helm.ts';
import { patientBuilds } from './builds.ts';
import { describe, soak } from './check.ts';
import { patientImageSteps } from './images.ts';
import { fullName, patientDefaults, targetOptions } from './session.ts';

/** Options of an installation. */
export interface PatientUpOptions {
  readonly kubeconfig: string;
  readonly signal: AbortSignal;
  readonly note?: (text: string) => void;
  readonly namespace?: string;
  readonly release?: string;
  /** More `--set` values. */
  readonly set?: readonly string[];
  /** How long it may take to become healthy. Default 240. */
  readonly withinSeconds?: number;
}

/** The programs of the local images, by the part of the chart that runs them. */
const programs = { pd: 'pd-server', tikv: 'tikv-server', load: 'oplab-load' } as const;

/**
 * Local images keep their tag when their content changes; this annotation restarts the pods then.
 */
function buildAnnotations(): string[] {
  return Object.entries(programs).flatMap(([part, program]) => [
    '--set-string',
    `${part}.podAnnotations.oplab\\.dev/build=${goBuildKey(findBuild(program, patientBuilds))}`,
  ]);
}

const chart = path.join(root, 'helm', 'tikv');

/**
 * `helm upgrade --install`, with local images where none can be pulled, in a namespace that it
 * makes; returns once the cluster is healthy.
 * @throws OplabError OPLAB_PATIENT_UNHEALTHY with the conditions that do not hold.
 */
export async function patientUp(options: PatientUpOptions): Promise<void> {
  const { kubeconfig, signal } = options;
  const namespace = options.namespace ?? patientDefaults.namespace;
  const release = options.release ?? patientDefaults.release;
  const withinSeconds = options.withinSeconds ?? 240;
  const values = (await canPull(signal))
    ? []
    : ['--values', path.join(chart, 'values-local.yaml'), ...buildAnnotations()];
  options.note?.('helm upgrade --install');
  const env = { KUBECONFIG: kubeconfig };
  await run(
    'helm',
    [
      'upgrade',
      '--install',
      release,
      chart,
      '--namespace',
      namespace,
      '--create-namespace',
      ...(await upgradeFlags({ env, signal })),
      ...values,
      // Off by default, so that a fault made on purpose opens no Incident; --set
      // monitors.enabled=true turns them on.
      '--set',
      'monitors.enabled=false',
      ...(options.set ?? []).flatMap((pair) => ['--set', pair]),
    ],
    { env, signal },
  );
  // Until its first pod is replaced, an upgraded release still looks healthy: wait for the new
  // pods.
  for (const part of ['pd', 'tikv', 'load']) {
    options.note?.(`rollout of ${part}`);
    await run(
      'kubectl',
      [
        '--namespace',
        namespace,
        'rollout',
        'status',
        `statefulset/${fullName(release)}-${part}`,
        `--timeout=${withinSeconds}s`,
      ],
      { env: { KUBECONFIG: kubeconfig }, signal },
    );
  }
  const health = await soak(
    { kubeconfig, namespace, release, signal },
    {
      seconds: 0,
      withinSeconds,
      onResult: ({ checks }) => {
        const open = checks.filter((check) => !check.passing);
        if (open[0] !== undefined)
          options.note?.(
            `${checks.length - open.length} of ${checks.length} conditions hold; ${open[0].name}: ${open[0].observed}`,
          );
      },
    },
  );
  if (!health.healthy)
    throw new OplabError(
      'OPLAB_PATIENT_UNHEALTHY',
      `release ${release} in namespace ${namespace} did not become healthy:\n${describe(health, false)}`,
    );
}

if (import.meta.main)
  await main(async (signal) => {
    const { values } = parseArgs({
      options: {
        ...targetOptions,
        set: { type: 'string', multiple: true, default: [] },
      },
    });
    await runSteps(
      [
        ...(await patientImageSteps(signal)),
        {
          title: `helm/tikv as release ${values.release} in namespace ${values.namespace}, until it is healthy`,
          expectedSeconds: 75,
          run: (context) => patientUp({ ...values, signal: context.signal, note: (text) => context.note(text) }),
        },
      ],
      { signal },
    );
    return 0;
  });
