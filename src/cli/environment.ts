// The environment of a command, created on demand from its flags: cluster, gateway, clock, output.

import type { Command } from 'commander';
import * as z from 'zod';
import { InvalidInput } from '../errors.ts';
import { createKubeClient, type KubeClient } from '../kube/client.ts';
import { clusterIncidents, type Incidents } from './incidents.ts';
import type { Monitors } from './monitors.ts';
import { clusterObjects, type Objects } from './objects.ts';
import type { Output } from './output.ts';
import type { ClusterAnchor } from './published-anchor.ts';
import type { AuditReader } from './reader/audit-reader.ts';

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

/** The environment of one command. Connections are opened on first use. */
export interface Environment {
  readonly output: Output;
  now(): Date;
  incidents(flags: ConnectionFlags): Incidents;
  monitors(flags: ConnectionFlags): Monitors;
  objects(flags: ConnectionFlags): Objects;
  /** Asks a question on the terminal. @throws InvalidInput if there is none */
  confirm(question: string): Promise<boolean>;
  /** What the gateway has published about its log. */
  anchor(flags: ConnectionFlags): Promise<ClusterAnchor>;
  /** The namespace from the flags, else from the kubeconfig's context, else "default". */
  namespace(flags: ConnectionFlags): string;
  gateway(flags: ConnectionFlags): AuditReader | Promise<AuditReader>;
  file(path: string): AuditReader | Promise<AuditReader>;
}

/** Creates the environment of a command when it runs. */
export type OpenEnvironment = () => Promise<Environment>;

/** The flags of a command, including those of its parents. */
export function parseFlags<T extends z.ZodType>(command: Command, schema: T): z.infer<T> {
  return schema.parse(command.optsWithGlobals());
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
  const getClient = ({ kubeconfig, context }: ConnectionFlags) => {
    client ??= createKubeClient({
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(context === undefined ? {} : { context }),
    });
    return client;
  };
  return {
    output,
    now: () => new Date(),
    incidents: (flags) => clusterIncidents(getClient(flags)),
    monitors: (flags) => {
      const client = getClient(flags);
      return {
        list: async (namespace) => (await import('./monitors.ts')).clusterMonitors(client).list(namespace),
      };
    },
    objects: (flags) => clusterObjects(getClient(flags)),
    async confirm(question) {
      const { stdin, stderr } = process;
      if (!stdin.isTTY) throw new InvalidInput('there is no terminal to ask on; use --yes or --dry-run');
      const { createInterface } = await import('node:readline/promises');
      const terminal = createInterface({ input: stdin, output: stderr });
      try {
        return /^y(?:es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim());
      } finally {
        terminal.close();
      }
    },
    anchor: async (flags) =>
      (await import('./published-anchor.ts')).clusterAnchor(getClient(flags), flags.oplabNamespace),
    namespace: (flags) => flags.namespace ?? getClient(flags).namespace ?? 'default',
    gateway: async (flags) => {
      const url = flags.gateway === undefined ? undefined : gatewayUrl(flags.gateway);
      const { openGatewayReader } = await import('./reader/gateway-reader.ts');
      return openGatewayReader({
        connect:
          url === undefined
            ? async () => {
                const { forwardToGateway } = await import('./gateway-forward.ts');
                return await forwardToGateway(getClient(flags), flags.oplabNamespace);
              }
            : async () => ({ url, close: async () => undefined }),
      });
    },
    file: async (path) => (await import('./reader/file-reader.ts')).openFileReader(path),
  };
}
