// The configuration for kind: one node, enforced NetworkPolicies, process limits, no registry, and
// an audit log of the API server.
import { stringify } from 'yaml';
import { auditPatches, policyInNode } from './audit-log.ts';

/** What decides the configuration. */
export interface KindChoices {
  /** The node image was made here: it brings its own CNI configuration and wants nftables. */
  readonly ownImage: boolean;
  /** Program that wraps runc, where the host lacks CAP_SYS_RESOURCE. */
  readonly runtimeWrapper: string | undefined;
  /** The file with the policy of the API server's audit log. */
  readonly auditPolicy: string;
  /** The Docker socket that the node shows to pods that may mount it. */
  readonly dockerSocket?: string;
}

/** Where the node has it: below /run it would be hidden when the node's own init starts. */
export const dockerSocketInNode = '/oplab/docker.sock';

/** Address ranges of the cluster. kube-router is configured with the second. */
export const podSubnet = '10.244.0.0/16';
export const serviceSubnet = '10.96.0.0/16';

const wrapperInNode = '/usr/local/bin/oplab-oci-runtime';

const containerdPatch = `[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "${wrapperInNode}"
`;

/** kind's cluster configuration as YAML. */
export function kindConfig(choices: KindChoices): string {
  const wrapped = choices.runtimeWrapper !== undefined;
  const { dockerSocket } = choices;
  const mounts = [
    ...(wrapped ? [{ hostPath: choices.runtimeWrapper, containerPath: wrapperInNode, readOnly: true }] : []),
    { hostPath: choices.auditPolicy, containerPath: policyInNode, readOnly: true },
    ...(dockerSocket === undefined ? [] : [{ hostPath: dockerSocket, containerPath: dockerSocketInNode }]),
  ];
  return stringify({
    kind: 'Cluster',
    apiVersion: 'kind.x-k8s.io/v1alpha4',
    networking: {
      podSubnet,
      serviceSubnet,
      ...(choices.ownImage && { disableDefaultCNI: true, kubeProxyMode: 'nftables' }),
    },
    ...(wrapped && { containerdConfigPatches: [containerdPatch] }),
    nodes: [
      {
        role: 'control-plane',
        kubeadmConfigPatches: [
          stringify({
            kind: 'KubeletConfiguration',
            apiVersion: 'kubelet.config.k8s.io/v1beta1',
            // A pod must not exhaust the node's process table; the sandbox has no other process
            // limit.
            podPidsLimit: 1024,
            // Hosts with cgroup v1 exist; our node must start on them.
            failCgroupV1: false,
          }),
          ...auditPatches.map((patch) => stringify(patch)),
        ],
        extraMounts: mounts,
      },
    ],
  });
}
