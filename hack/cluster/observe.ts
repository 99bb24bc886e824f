// Observes the state of the cluster, from which up, down and status decide.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { run } from '../child.ts';
import { containerState, dockerAnswers } from './docker.ts';
import { binDir, kubeconfigPath, nodeContainer } from './names.ts';

/** State of the cluster as far as it can be seen from outside. */
export interface ClusterState {
  readonly docker: boolean;
  /** The node container: `absent`, or Docker's word for its state. */
  readonly node: string;
  readonly kubeconfig: boolean;
  /** The API server says that it is ready. */
  readonly api: boolean;
  readonly nodeReady: boolean;
  readonly dns: boolean;
  readonly networkPolicy: boolean;
  readonly storage: boolean;
}

const nothing: ClusterState = {
  docker: false,
  node: 'absent',
  kubeconfig: false,
  api: false,
  nodeReady: false,
  dns: false,
  networkPolicy: false,
  storage: false,
};

/** Everything that a pod may rely on is there. */
export function isUp(state: ClusterState): boolean {
  return state.kubeconfig && state.api && state.nodeReady && state.dns && state.networkPolicy && state.storage;
}

interface Listed {
  readonly items?: ReadonlyArray<{
    readonly kind?: string;
    readonly metadata?: { readonly name?: string; readonly annotations?: Record<string, string> };
    readonly status?: {
      readonly conditions?: ReadonlyArray<{ readonly type?: string; readonly status?: string }>;
      readonly readyReplicas?: number;
      readonly numberReady?: number;
      readonly desiredNumberScheduled?: number;
    };
  }>;
}

/** Reads readiness from `kubectl get nodes,deployments,daemonsets,storageclasses -A -o json`. */
export function readiness(listed: Listed): Pick<ClusterState, 'nodeReady' | 'dns' | 'networkPolicy' | 'storage'> {
  const items = listed.items ?? [];
  const named = (kind: string, ...names: string[]) =>
    items.find((item) => item.kind === kind && names.includes(item.metadata?.name ?? ''));
  const firewall = named('DaemonSet', 'kube-router', 'kindnet')?.status;
  return {
    nodeReady: items.some(
      (item) =>
        item.kind === 'Node' && item.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
    ),
    dns: (named('Deployment', 'coredns')?.status?.readyReplicas ?? 0) > 0,
    networkPolicy: (firewall?.numberReady ?? 0) > 0 && firewall?.numberReady === firewall?.desiredNumberScheduled,
    storage:
      items.some(
        (item) =>
          item.kind === 'StorageClass' &&
          item.metadata?.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true',
      ) && (named('Deployment', 'local-path-provisioner')?.status?.readyReplicas ?? 0) > 0,
  };
}

/** Asks Docker and, if there is a cluster, its API server. Never waits long. */
export async function observe(signal?: AbortSignal): Promise<ClusterState> {
  if (!(await dockerAnswers(signal))) return nothing;
  const node = (await containerState(nodeContainer, signal)) ?? 'absent';
  const kubeconfig = existsSync(kubeconfigPath);
  const state = { ...nothing, docker: true, node, kubeconfig };
  // The link to kubectl is made with the cluster. Without it nothing is asked: observing must not
  // compile.
  const kubectl = path.join(binDir, 'kubectl');
  if (node !== 'running' || !kubeconfig || !existsSync(kubectl)) return state;
  const kinds = 'nodes,deployments,daemonsets,storageclasses';
  const args = ['--kubeconfig', kubeconfigPath, '--request-timeout=10s', 'get', kinds, '-A', '-o', 'json'];
  const got = await run(kubectl, args, { allowFailure: true, timeoutMs: 15_000, signal });
  if (got.code !== 0) return state;
  return { ...state, api: true, ...readiness(JSON.parse(got.stdout) as Listed) };
}

/** Whether there is a cluster of ours at all, up or not. */
export async function clusterExists(signal: AbortSignal): Promise<boolean> {
  return (await dockerAnswers(signal)) && (await containerState(nodeContainer, signal)) !== undefined;
}
