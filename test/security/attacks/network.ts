// Addresses that a sandbox must not reach, and the command that tries them all at once.

export interface NetworkFacts {
  /** The address of the node. */
  readonly node: string;
  /** The API server's Service. */
  readonly apiServer: string;
  readonly bystanderPod: string;
  readonly bystanderService: string;
  readonly bystanderNodePort: string;
  readonly gatewayPod: string;
  readonly controllerPod: string;
  readonly dnsPod: string;
  /** The Docker host, where the scripted model listens. */
  readonly host: string;
}

/** Each address with a name; `host port`. */
export const networkTargets: readonly { readonly name: string; readonly of: (facts: NetworkFacts) => string }[] = [
  { name: "the API server's Service", of: ({ apiServer }) => `${apiServer} 443` },
  { name: 'the API server on the node', of: ({ node }) => `${node} 6443` },
  { name: 'the kubelet', of: ({ node }) => `${node} 10250` },
  { name: "the kubelet's read-only port", of: ({ node }) => `${node} 10255` },
  { name: 'etcd', of: ({ node }) => `${node} 2379` },
  { name: "etcd's peer port", of: ({ node }) => `${node} 2380` },
  { name: 'kube-proxy', of: ({ node }) => `${node} 10256` },
  { name: 'the scheduler', of: ({ node }) => `${node} 10259` },
  { name: 'SSH of the node', of: ({ node }) => `${node} 22` },
  { name: 'metadata over IPv4', of: () => '169.254.169.254 80' },
  { name: 'metadata over IPv6', of: () => 'fd00:ec2::254 80' },
  { name: 'an address of the internet', of: () => '1.1.1.1 443' },
  { name: 'a pod of another namespace', of: ({ bystanderPod }) => `${bystanderPod} 8080` },
  { name: 'a Service of another namespace', of: ({ bystanderService }) => `${bystanderService} 80` },
  { name: 'a NodePort', of: ({ node, bystanderNodePort }) => `${node} ${bystanderNodePort}` },
  { name: "the gateway's metrics", of: ({ gatewayPod }) => `${gatewayPod} 9090` },
  { name: "the gateway's read API", of: ({ gatewayPod }) => `${gatewayPod} 8080` },
  { name: "the controller's metrics", of: ({ controllerPod }) => `${controllerPod} 9090` },
  { name: "the DNS server's metrics", of: ({ dnsPod }) => `${dnsPod} 9153` },
  { name: "the model's server, past the gateway", of: ({ host }) => `${host} 18998` },
];

/** Prints `@@ N open` or `@@ N closed` for each address. */
export function probeCommand(facts: NetworkFacts): string {
  const probes = networkTargets.map(({ of }, index) => {
    const [host, port] = of(facts).split(' ');
    return `(timeout 4 bash -c '</dev/tcp/${host}/${port}' 2>/dev/null && echo "@@ ${index} open" || echo "@@ ${index} closed") &`;
  });
  return `${probes.join('\n')}\nwait`;
}

/** Whether each address was open, in the order of the targets; undefined where it was not tried. */
export function readProbes(printed: string): (boolean | undefined)[] {
  const seen = new Map(
    [...printed.matchAll(/@@ (\d+) (open|closed)/g)].map(([, index, state]) => [Number(index), state]),
  );
  return networkTargets.map((_, index) => (seen.has(index) ? seen.get(index) === 'open' : undefined));
}
