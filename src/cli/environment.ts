// What a command works with, made from its flags on demand: the cluster, the way to the gateway, the clock, the output.

import type { Command } from 'commander';
import { z } from 'zod';
import { InvalidInput } from '../errors.ts';
import { createKubeClient, type KubeClient } from '../kube/client.ts';
import { clusterIncidents, type Incidents } from './incidents.ts';
import type { Monitors } from './monitors.ts';
import type { Output } from './output.ts';
import type { AuditReader } from './reader/audit-reader.ts';

/** Flags that every command takes, named as kubectl names them. */
export const connectionFlags = z.looseObject({
  namespace: z.string().optional(),
  allNamespaces: z.boolean().default(false),
  context: z.string().optional(),
  kubeconfig: z.string().optional(),
  oplabNamespace: z.string().default('oplab-system'),
  gateway: z.string().optional(),
});
export type ConnectionFlags = z.infer<typeof connectionFlags>;

/** The world of one command. Nothing is connected before it is asked for. */
export interface Environment {
  readonly output: Output;
  now(): Date;
  incidents(flags: ConnectionFlags): Incidents;
  monitors(flags: ConnectionFlags): Monitors;
  /** The namespace of the flags, else of the kubeconfig's context, else "default". */
  namespace(flags: ConnectionFlags): string;
  gateway(flags: ConnectionFlags): AuditReader | Promise<AuditReader>;
  file(path: string): AuditReader | Promise<AuditReader>;
}

/** Makes the world of a command, once it runs. */
export type OpenEnvironment = () => Promise<Environment>;

/** The flags of a command, those of its parents included. */
export function flagsOf<T extends z.ZodType>(command: Command, schema: T): z.infer<T> {
  return schema.parse(command.optsWithGlobals());
}

/** The address of a read API that is forwarded already. @throws InvalidInput */
function gatewayUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidInput(`--gateway ${text}: write an address such as http://127.0.0.1:8080`);
  }
  return url.href.replace(/\/+$/, '');
}

/** The real world: a cluster by kubeconfig, the system clock. */
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
    monitors: (flags) => {
      const client = clientOf(flags);
      return {
        list: async (namespace) => (await import('./monitors.ts')).clusterMonitors(client).list(namespace),
      };
    },
    namespace: (flags) => flags.namespace ?? clientOf(flags).namespace ?? 'default',
    gateway: async (flags) => {
      const url = flags.gateway === undefined ? undefined : gatewayUrl(flags.gateway);
      const { openGatewayReader } = await import('./reader/gateway-reader.ts');
      return openGatewayReader({
        connect:
          url === undefined
            ? async () => {
                const { forwardToGateway } = await import('./gateway-forward.ts');
                return await forwardToGateway(clientOf(flags), flags.oplabNamespace);
              }
            : async () => ({ url, close: async () => undefined }),
      });
    },
    file: async (path) => (await import('./reader/file-reader.ts')).openFileReader(path),
  };
}
