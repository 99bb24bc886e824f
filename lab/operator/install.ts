// Installs and uninstalls the operator's chart of this checkout in the development cluster.

import { access } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../../hack/child.ts';
import { upgradeFlags } from './helm.ts';

const root = path.dirname(path.dirname(import.meta.dirname));

export const SYSTEM_NAMESPACE = 'oplab-system';
export const AGENTS_NAMESPACE = 'oplab-agents';

/** The model of the agents. `rehearsal` is a stand-in that follows written rules. */
export type ModelChoice = 'claude' | 'rehearsal';

/** Claude where the environment has a key, else the stand-in. */
export function modelFromEnvironment(environment: NodeJS.ProcessEnv = process.env): ModelChoice {
  return (environment.ANTHROPIC_API_KEY ?? '') === '' ? 'rehearsal' : 'claude';
}

export interface InstallOptions {
  readonly kubeconfig: string;
  readonly model: ModelChoice;
  /** More `--set` values, for tests. */
  readonly set?: Readonly<Record<string, string>>;
  /** The images changed under the same tag: running pods must be restarted. */
  readonly restart?: boolean;
  readonly signal: AbortSignal;
}

/**
 * `helm upgrade --install` with the images of this checkout; returns when controller and gateway
 * are ready.
 */
export async function installOperator(options: InstallOptions): Promise<void> {
  const { signal } = options;
  const env = { KUBECONFIG: options.kubeconfig };
  const values = {
    'image.tag': 'dev',
    'sandboxImage.tag': 'dev',
    'rehearsal.enabled': String(options.model === 'rehearsal'),
    ...(options.model === 'claude' ? { 'model.apiKey.existingSecret': 'oplab-model-key' } : {}),
    ...options.set,
  };
  await departed(options.kubeconfig, signal);
  if (options.model === 'claude') await putModelKey(options.kubeconfig, signal);
  // Helm installs the CRDs of a chart once and never updates them; this checkout's may be newer.
  const crds = path.join(root, 'crds');
  await access(crds);
  await run('kubectl', ['apply', '--server-side', '--force-conflicts', '-f', crds], { env, signal });
  await run('kubectl', ['wait', '--for=condition=Established', '--timeout=60s', '-f', crds], { env, signal });
  const set = Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  await run(
    'helm',
    [
      'upgrade',
      '--install',
      'oplab',
      path.join(root, 'helm/oplab'),
      '--namespace',
      SYSTEM_NAMESPACE,
      '--create-namespace',
      '--wait',
      '--timeout',
      '3m',
      ...(await upgradeFlags({ env, signal })),
      ...set,
    ],
    { env, signal },
  );
  if (options.restart !== true) return;
  const deployments = ['deployment/oplab-gateway', 'deployment/oplab-controller'];
  if (options.model === 'rehearsal') deployments.push('deployment/oplab-rehearsal');
  await run('kubectl', ['-n', SYSTEM_NAMESPACE, 'rollout', 'restart', ...deployments], { env, signal });
  for (const deployment of deployments)
    await run('kubectl', ['-n', SYSTEM_NAMESPACE, 'rollout', 'status', deployment, '--timeout=120s'], { env, signal });
}

/** Waits for namespaces that are still terminating, in which nothing can be created. */
async function departed(kubeconfig: string, signal: AbortSignal): Promise<void> {
  const env = { KUBECONFIG: kubeconfig };
  for (const namespace of [SYSTEM_NAMESPACE, AGENTS_NAMESPACE]) {
    const phase = ['get', 'namespace', namespace, '--ignore-not-found', '-o', 'jsonpath={.status.phase}'];
    if ((await run('kubectl', phase, { env, signal })).stdout !== 'Terminating') continue;
    await run('kubectl', ['wait', '--for=delete', `namespace/${namespace}`, '--timeout=120s'], { env, signal });
  }
}

/**
 * The key goes from our environment to the Secret through standard input: never through an argument
 * list.
 */
async function putModelKey(kubeconfig: string, signal: AbortSignal): Promise<void> {
  const env = { KUBECONFIG: kubeconfig };
  const manifests = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SYSTEM_NAMESPACE } },
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'oplab-model-key', namespace: SYSTEM_NAMESPACE },
      stringData: { 'api-key': process.env.ANTHROPIC_API_KEY ?? '' },
    },
  ];
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests });
  await run('kubectl', ['apply', '--server-side', '-f', '-'], { env, signal, input });
}

/** Uninstalls the operator with its namespaces and CRDs. */
export async function uninstallOperator(kubeconfig: string, signal: AbortSignal): Promise<void> {
  const env = { KUBECONFIG: kubeconfig };
  await run(
    'helm',
    ['uninstall', 'oplab', '--namespace', SYSTEM_NAMESPACE, '--ignore-not-found', '--wait', '--timeout', '3m'],
    { env, signal },
  );
  await run('kubectl', ['delete', '--ignore-not-found', '-f', path.join(root, 'crds')], { env, signal });
  await run('kubectl', ['delete', 'namespace', SYSTEM_NAMESPACE, '--ignore-not-found', '--wait=false'], {
    env,
    signal,
  });
}
