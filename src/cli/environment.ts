// What a command works with, created on demand from its flags: cluster, gateway, clock, output.

import type { Command } from 'commander';
import { z } from 'zod';
import { GatewayUnreachable, InvalidInput } from '../errors.ts';
import { ports } from '../gateway/protocol.ts';
import { createKubeClient, type KubeClient, type KubeObject } from '../kube/client.ts';
import { openPortForward } from '../kube/port-forward.ts';
import { PODS } from '../kube/resources.ts';
import { clusterIncidents, type Incidents } from './incidents.ts';
import { clusterMonitors, type Monitors } from './monitors.ts';
import type { Output } from './output.ts';
import type { AuditReader } from './reader/audit-reader.ts';
import { openFileReader } from './reader/file-reader.ts';
import { type GatewayConnection, openGatewayReader } from './reader/gateway-reader.ts';

/** The flags that every command accepts, with the same names as in kubectl. */
export const connectionFlags = z.looseObject({
  namespace: z.string().optional(),
  allNamespaces: z.boolean().default(false),
  context: z.string().optional(),
  kubeconfig: z.string().optional(),
  oplabNamespace: z.string().default('oplab-system'),
  gateway: z.string().optional(),
});
export type ConnectionFlags = z.infer<typeof connectionFlags>;

/** What one command works with. Connections are opened on first use. */
export interface Environment {
  readonly output: Output;
  now(): Date;
  incidents(flags: ConnectionFlags): Incidents;
  monitors(flags: ConnectionFlags): Monitors;
  /** The namespace from the flags, else from the kubeconfig's context, else "default". */
  namespace(flags: ConnectionFlags): string;
  gateway(flags: ConnectionFlags): AuditReader;
  file(path: string): AuditReader;
}

/** The flags of a command, including those of its parents. */
export function flagsOf<T extends z.ZodType>(command: Command, schema: T): z.infer<T> {
  return schema.parse(command.optsWithGlobals());
}

const GATEWAY_SELECTOR = 'app.kubernetes.io/name=oplab,app.kubernetes.io/component=gateway';

const podStatus = z.looseObject({
  status: z
    .looseObject({ conditions: z.array(z.looseObject({ type: z.string(), status: z.string() })).optional() })
    .optional(),
});

/** The gateway pod to connect to: prefers a ready pod and skips those being deleted. */
export function chooseGatewayPod(pods: readonly KubeObject[]): KubeObject | undefined {
  const ready = (pod: KubeObject) => {
    const parsed = podStatus.safeParse(pod);
    const conditions = parsed.success ? parsed.data.status?.conditions : undefined;
    return conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;
  };
  const candidates = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
  return candidates.find(ready) ?? candidates[0];
}

async function forwardToGateway(client: KubeClient, namespace: string): Promise<GatewayConnection> {
  const { items } = await client.list(PODS, { namespace, labelSelector: GATEWAY_SELECTOR });
  const pod = chooseGatewayPod(items);
  if (pod === undefined) {
    throw new GatewayUnreachable(
      `no gateway pod found in namespace ${namespace}; set oplab's namespace with --oplab-namespace, or read a file with --file`,
    );
  }
  const forward = await openPortForward(client, { namespace, pod: pod.metadata.name, port: ports.read });
  return {
    url: `http://127.0.0.1:${forward.localPort}`,
    get lastError() {
      return forward.lastError;
    },
    close: () => forward.close(),
  };
}

/** The address of a read API whose port the user forwards. @throws InvalidInput */
function gatewayUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidInput(`--gateway ${text}: must be an HTTP address such as http://127.0.0.1:8080`);
  }
  return url.href.replace(/\/+$/, '');
}

/** The environment outside tests: the cluster of the kubeconfig, and the system clock. */
export function realEnvironment(output: Output): Environment {
  let client: KubeClient | undefined;
  const clientOf = ({ kubeconfig, context }: ConnectionFlags) => {
    client ??= createKubeClient({
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(context === undefined ? {} : { context }),
    });
    return client;
  };
  return {
    output,
    now: () => new Date(),
    incidents: (flags) => clusterIncidents(clientOf(flags)),
    monitors: (flags) => clusterMonitors(clientOf(flags)),
    namespace: (flags) => flags.namespace ?? clientOf(flags).namespace ?? 'default',
    gateway: (flags) => {
      const url = flags.gateway === undefined ? undefined : gatewayUrl(flags.gateway);
      return openGatewayReader({
        connect:
          url === undefined
            ? () => forwardToGateway(clientOf(flags), flags.oplabNamespace)
            : async () => ({ url, close: async () => undefined }),
      });
    },
    file: openFileReader,
  };
}
