// The table of isolation probes: what a sandbox must not have. A class may allow a hole by name.

/** Addresses that must be closed. The value says what a hole would be. */
export const NETWORK_PROBES = {
  'api-server': 'the API server',
  kubelet: "the node's kubelet, which accepts no token of the sandbox",
  'kubelet-read-only': "the read-only port of the node's kubelet, which asks for no token",
  metadata: 'the metadata service of the cloud',
  'metadata-ipv6': 'the metadata service of the cloud, over IPv6',
  'other-namespace': 'a Service of another namespace: the metrics of the DNS',
  internet: 'the internet',
  'internet-ipv6': 'the internet, over IPv6',
} as const;

/** What the container itself must not have. */
export const CONTAINER_PROBES = {
  'foreign-token': "tokens other than the sandbox's own",
  'host-socket': "the socket of the node's container runtime",
  'host-processes': 'processes of other users, such as those of the node',
  'host-mount': 'a file system that is not part of the pod, such as a hostPath volume',
  capabilities: 'Linux capabilities',
  seccomp: 'system calls without a seccomp filter',
  'new-privileges': 'programs that raise its privileges (no no_new_privs)',
  root: 'the user root',
} as const;

export type NetworkProbeName = keyof typeof NETWORK_PROBES;
export type ContainerProbeName = keyof typeof CONTAINER_PROBES;

/** The names of all probes, which a class may allow. */
export const ISOLATION_PROBES: readonly string[] = [...Object.keys(NETWORK_PROBES), ...Object.keys(CONTAINER_PROBES)];
