// What of a Docker host an agent may reach: one Compose project or one label, and nothing that leads out of a container.

import { z } from 'zod';
import { dnsLabel } from './meta.ts';

export const dockerAccess = z
  .object({
    endpoint: dnsLabel.meta({
      description: "Name of a Docker host in the gateway's configuration (docker.endpoints).",
    }),
    composeProject: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .meta({ description: 'Only what belongs to this Compose project can be seen and changed.' }),
    label: z
      .string()
      .min(3)
      .max(256)
      .regex(/^[^=]+=.+$/)
      .optional()
      .meta({ description: 'Or: only what carries this label, key=value.' }),
    allowPrivileged: z.boolean().default(false).meta({ description: 'Containers may be created privileged.' }),
    allowHostMounts: z.boolean().default(false).meta({ description: 'Containers may be created with host paths.' }),
    allowHostNamespaces: z
      .boolean()
      .default(false)
      .meta({ description: 'Containers may be created in the namespaces (network, pid, ipc, …) of the host.' }),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.composeProject) != has(self.label)',
        message: 'docker: limit the access by exactly one of: composeProject, label',
      },
    ],
  });
export type DockerAccess = z.infer<typeof dockerAccess>;
