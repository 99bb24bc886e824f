// What an agent may reach on a Docker host: one Compose project or one label, and not the host.

import * as z from 'zod';
import { dnsLabel } from './meta.ts';

export const dockerAccess = z
  .object({
    endpoint: dnsLabel.meta({
      description: "Name of a Docker host in the gateway's configuration (docker.endpoints).",
    }),
    composeProject: z.string().min(1).max(63).optional().meta({
      description: 'The agent can see and change only objects of this Compose project. Set either this or label.',
    }),
    label: z
      .string()
      .min(3)
      .max(256)
      .regex(/^[^=]+=.+$/)
      .optional()
      .meta({
        description:
          'The agent can see and change only objects with this label, written as key=value. Set either this or composeProject.',
      }),
    allowPrivileged: z
      .boolean()
      .default(false)
      .meta({ description: 'Allows the agent to create privileged containers.' }),
    allowHostMounts: z
      .boolean()
      .default(false)
      .meta({ description: 'Allows the agent to create containers that mount host paths.' }),
    allowHostNamespaces: z.boolean().default(false).meta({
      description: 'Allows the agent to create containers in namespaces (network, pid, ipc, …) of the host.',
    }),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.composeProject) != has(self.label)',
        message: 'docker: set exactly one of composeProject and label to limit the access',
      },
    ],
  });
export type DockerAccess = z.infer<typeof dockerAccess>;
