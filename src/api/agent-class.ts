// The AgentClass: what the platform owner allows agents to be and to do. Cluster-scoped, like IngressClass.

import { z } from 'zod';
import { dockerAccess } from './docker-access.ts';
import { DEFAULT_CEILINGS, limits } from './limits.ts';
import { DNS_LABEL, objectMeta } from './meta.ts';

/** The SDK's current Opus; the agent thinks with it unless the class says otherwise. */
export const DEFAULT_MODEL = 'claude-opus-5-5';
/** The SDK's current Haiku; it writes the one-line summaries of tool results. */
export const DEFAULT_SUMMARY_MODEL = 'claude-haiku-5-5';

/** A Kubernetes quantity; `cpu: 1` in YAML is a number. */
const quantity = z.union([z.string().max(32), z.number()]).meta({
  'x-kubernetes-int-or-string': true,
  maxLength: 32,
  'x-kubernetes-validations': [
    {
      rule: 'type(self) == int ? self >= 0 : isQuantity(self) && !quantity(self).isLessThan(quantity("0"))',
      message: 'no quantity; write one such as 500m, 2 or 1Gi',
    },
  ],
});
const quantityMap = z.record(z.string(), quantity).meta({ maxProperties: 8 });
const resources = z.object({
  requests: quantityMap.optional().meta({ description: 'cpu, memory, ephemeral-storage.' }),
  limits: quantityMap.optional().meta({ description: 'cpu, memory, ephemeral-storage.' }),
});

const roleReference = z.object({
  kind: z
    .enum(['ClusterRole', 'Role'])
    .default('ClusterRole')
    .meta({ description: 'A Role must exist in each target namespace.' }),
  name: z.string().min(1).max(253).meta({ description: 'Name of the role.' }),
});
export type RoleReference = z.infer<typeof roleReference>;

const roleList = z.array(roleReference).max(8).meta({ 'x-kubernetes-list-type': 'atomic' });

/** A namespace, or `*` for all of them. There are no other patterns: what looks like one would match nothing. */
const namespaceOrAll = z
  .string()
  .min(1)
  .max(63)
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `self == '*' || self.matches('${DNS_LABEL.source}')`,
        message: 'neither the name of a namespace nor * for all; there are no other patterns, so name each namespace',
      },
    ],
  });
const namespaces = z.array(namespaceOrAll).min(1).max(64).default(['*']).meta({ 'x-kubernetes-list-type': 'set' });

export const agentClassSpec = z.object({
  mode: z
    .enum(['Repair', 'Diagnose'])
    .default('Repair')
    .meta({ description: 'Diagnose binds only readRoles: the agent can look, and its claim can never be Fixed.' }),
  model: z
    .object({
      name: z.string().min(1).max(128).default(DEFAULT_MODEL).meta({ description: 'The model that the agent is.' }),
      summaryName: z
        .string()
        .min(1)
        .max(128)
        .default(DEFAULT_SUMMARY_MODEL)
        .meta({ description: 'A small model that sums up the output of each command in a line.' }),
      maxOutputTokens: z
        .number()
        .int()
        .min(256)
        .max(128000)
        .default(16000)
        .meta({ description: 'Of one answer of the agent model.' }),
    })
    .prefault({})
    .meta({ description: 'Which models the gateway lets agents of this class use.' }),
  promptAdditions: z
    .string()
    .max(16384)
    .optional()
    .meta({ description: 'Appended to the system prompt: facts about your platform, not a playbook.' }),
  images: z
    .object({
      agent: z.string().min(1).max(512).meta({ description: 'Image of the agent container.' }),
      sandbox: z.string().min(1).max(512).meta({ description: 'Image that the shell runs in, with its tools.' }),
      pullPolicy: z
        .enum(['Always', 'IfNotPresent', 'Never'])
        .default('IfNotPresent')
        .meta({ description: 'For both images.' }),
      pullSecrets: z
        .array(z.object({ name: z.string().min(1).max(253).meta({ description: 'Name of the Secret.' }) }))
        .max(8)
        .optional()
        .meta({
          'x-kubernetes-list-type': 'atomic',
          description: "Secrets of type kubernetes.io/dockerconfigjson in the agents' namespace, for both images.",
        }),
    })
    .meta({ description: 'Images of the agent pod.' }),
  runtimeClassName: z.string().min(1).max(253).optional().meta({ description: 'For example gvisor or kata.' }),
  priorityClassName: z.string().min(1).max(253).optional().meta({ description: 'PriorityClass of the agent pods.' }),
  resources: z
    .object({
      agent: resources.optional().meta({ description: 'Of the agent container.' }),
      sandbox: resources.optional().meta({ description: 'Of the container in which commands run.' }),
    })
    .optional()
    .meta({ description: 'Requests and limits of the agent pod; what is left out gets a default.' }),
  repairRoles: roleList.default([]).meta({
    description:
      "Bound to the agent in each target namespace in mode Repair. The controller's bind right must list them.",
  }),
  readRoles: roleList
    .default([])
    .meta({ description: 'Bound in mode Diagnose, and always to the identity that runs the checks.' }),
  docker: dockerAccess.optional().meta({
    description: 'Opens the docker door: the sandbox gets a /var/run/docker.sock. Absent: there is none.',
  }),
  incidentNamespaces: namespaces.meta({
    description: 'Where Incidents of this class may live; * is everywhere.',
  }),
  targetNamespaces: namespaces.meta({ description: 'Where agents of this class may work; * is everywhere.' }),
  ceilings: limits.partial().prefault({}).meta({ description: 'Upper bounds of every Incident of this class.' }),
});
export type AgentClassSpec = z.infer<typeof agentClassSpec>;

export const agentClass = z.object({
  apiVersion: z.string(),
  kind: z.literal('AgentClass'),
  metadata: objectMeta,
  spec: agentClassSpec,
});
export type AgentClass = z.infer<typeof agentClass>;

/** The class's ceilings with the defaults filled in. */
export function ceilingsOf(spec: AgentClassSpec) {
  return {
    ...DEFAULT_CEILINGS,
    ...Object.fromEntries(Object.entries(spec.ceilings).filter(([, value]) => value !== undefined)),
  };
}

/** Whether a namespace is matched by a list of names, of which `*` matches all. */
export function allowsNamespace(allowed: readonly string[], namespace: string): boolean {
  return allowed.some((name) => name === '*' || name === namespace);
}
