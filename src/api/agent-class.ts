// The AgentClass: what the platform owner allows agents to use and to do. Cluster-scoped.

import * as z from 'zod';
import { dockerAccess } from './docker-access.ts';
import { ISOLATION_PROBES } from './isolation.ts';
import { DEFAULT_CEILINGS, limits } from './limits.ts';
import { conditionList, DNS_LABEL, objectMeta } from './meta.ts';
import { modelOptions } from './model-options.ts';
import { dayUsage, quota } from './quota.ts';

/** The SDK's current Opus: the agent's model unless the class names another. */
export const DEFAULT_MODEL = 'claude-opus-5-5';
/** The SDK's current Haiku, which writes the one-line summaries of tool results. */
export const DEFAULT_SUMMARY_MODEL = 'claude-haiku-5-5';

/** A Kubernetes quantity. It may be a number, because YAML reads `cpu: 1` as one. */
const quantity = z.union([z.string().max(32), z.number()]).meta({
  'x-kubernetes-int-or-string': true,
  maxLength: 32,
  'x-kubernetes-validations': [
    {
      rule: 'type(self) == int ? self >= 0 : isQuantity(self) && !quantity(self).isLessThan(quantity("0"))',
      message: 'must be a quantity that is not negative, such as 500m, 2 or 1Gi',
    },
  ],
});
const quantityMap = z.record(z.string(), quantity).meta({ maxProperties: 8 });
const resources = z.object({
  requests: quantityMap.optional().meta({ description: 'Requests for cpu, memory and ephemeral-storage.' }),
  limits: quantityMap.optional().meta({ description: 'Limits for cpu, memory and ephemeral-storage.' }),
});

const roleReference = z.object({
  kind: z
    .enum(['ClusterRole', 'Role'])
    .default('ClusterRole')
    .meta({ description: 'Kind of the role. A Role must exist in each target namespace.' }),
  name: z.string().min(1).max(253).meta({ description: 'Name of the role.' }),
});
export type RoleReference = z.infer<typeof roleReference>;

const roleList = z.array(roleReference).max(8).meta({ 'x-kubernetes-list-type': 'atomic' });

/** A namespace, or `*` for all. Any other pattern is rejected, because it would match nothing. */
const namespaceOrAll = z
  .string()
  .min(1)
  .max(63)
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `self == '*' || self.matches('${DNS_LABEL.source}')`,
        message:
          'must be a namespace name, or * for all namespaces; no other patterns are supported, so list each namespace',
      },
    ],
  });
const namespaces = z.array(namespaceOrAll).min(1).max(64).default(['*']).meta({ 'x-kubernetes-list-type': 'set' });

export const agentClassSpec = z.object({
  mode: z.enum(['Repair', 'Diagnose']).default('Repair').meta({
    description:
      'Repair binds repairRoles to the agent. Diagnose binds only readRoles: the agent can inspect but not change anything, and cannot claim Fixed.',
  }),
  model: z
    .object({
      name: z.string().min(1).max(128).default(DEFAULT_MODEL).meta({ description: 'The model that the agent uses.' }),
      summaryName: z
        .string()
        .min(1)
        .max(128)
        .default(DEFAULT_SUMMARY_MODEL)
        .meta({ description: 'A small model that summarizes long results of commands in one line each.' }),
      maxOutputTokens: z
        .number()
        .int()
        .min(256)
        .max(128000)
        .default(16000)
        .meta({ description: 'Maximum number of output tokens in one response of the agent model.' }),
      ...modelOptions.shape,
    })
    .prefault({})
    .meta({ description: 'Models that the gateway lets agents of this class use.' }),
  runbooks: z.enum(['Always', 'SingleTarget', 'Never']).default('SingleTarget').meta({
    description:
      'Whether agents get the notes in ConfigMap oplab-runbook of their target namespaces. SingleTarget: only if the Incident has one target namespace, because with several, the writers in one would advise an agent that has rights in the others.',
  }),
  promptAdditions: z.string().max(16384).optional().meta({
    description: 'Text appended to the system prompt. Use it for facts about your platform, not for a playbook.',
  }),
  images: z
    .object({
      agent: z.string().min(1).max(512).meta({ description: 'Image of the agent container.' }),
      sandbox: z
        .string()
        .min(1)
        .max(512)
        .meta({ description: 'Image of the sandbox container: the shell and its tools.' }),
      pullPolicy: z
        .enum(['Always', 'IfNotPresent', 'Never'])
        .default('IfNotPresent')
        .meta({ description: 'Pull policy of both images.' }),
      pullSecrets: z
        .array(z.object({ name: z.string().min(1).max(253).meta({ description: 'Name of the Secret.' }) }))
        .max(8)
        .optional()
        .meta({
          'x-kubernetes-list-type': 'atomic',
          description:
            "Secrets of type kubernetes.io/dockerconfigjson in the agents' namespace, used to pull both images.",
        }),
    })
    .meta({ description: 'Images of the agent pod.' }),
  isolation: z
    .object({
      allowHoles: z.array(z.enum(ISOLATION_PROBES)).max(ISOLATION_PROBES.length).default([]).meta({
        'x-kubernetes-list-type': 'set',
        description:
          'Isolation probes that may find a hole. Every other hole stops the attempt before the first command. The trail has the result of all probes.',
      }),
    })
    .prefault({})
    .meta({ description: 'What the probes of the sandbox may find before the first command.' }),
  runtimeClassName: z
    .string()
    .min(1)
    .max(253)
    .optional()
    .meta({ description: 'RuntimeClass of the agent pods, for example gvisor or kata.' }),
  priorityClassName: z.string().min(1).max(253).optional().meta({ description: 'PriorityClass of the agent pods.' }),
  resources: z
    .object({
      agent: resources.optional().meta({ description: 'Resources of the agent container.' }),
      sandbox: resources.optional().meta({ description: 'Resources of the sandbox container, in which commands run.' }),
    })
    .optional()
    .meta({ description: 'Resource requests and limits of the agent pod. Values that you leave out get defaults.' }),
  repairRoles: roleList.default([]).meta({
    description:
      "Roles that are bound to the agent in each target namespace in mode Repair. The controller's permission to bind must list them.",
  }),
  readRoles: roleList.default([]).meta({
    description:
      'Roles that are bound to the agent in mode Diagnose, and in every mode to the identity that runs the checks.',
  }),
  docker: dockerAccess.optional().meta({
    description: 'Opens the docker door: the sandbox gets a /var/run/docker.sock. If not set, it gets none.',
  }),
  incidentNamespaces: namespaces.meta({
    description: 'Namespaces in which Incidents may use this class. * means all namespaces.',
  }),
  targetNamespaces: namespaces.meta({
    description: 'Namespaces in which agents of this class may work. * means all, except those of oplab itself.',
  }),
  ceilings: limits.partial().prefault({}).meta({
    description: 'Upper bounds on the limits of every Incident of this class. Values that you leave out get defaults.',
  }),
  quota: quota.partial().prefault({}).meta({
    description:
      'Bounds on all Incidents of this class together. What exceeds them waits. Values that you leave out get defaults.',
  }),
});
export type AgentClassSpec = z.infer<typeof agentClassSpec>;

export const agentClassStatus = z.object({
  conditions: conditionList(
    'ModelReachable says whether the model API has the models of the class for the key of the gateway.',
  ),
  day: dayUsage.optional().meta({ description: 'What the class has used today, as the gateway has counted it.' }),
});
export type AgentClassStatus = z.infer<typeof agentClassStatus>;

export const agentClass = z.object({
  apiVersion: z.string(),
  kind: z.literal('AgentClass'),
  metadata: objectMeta,
  spec: agentClassSpec,
  status: agentClassStatus.optional(),
});
export type AgentClass = z.infer<typeof agentClass>;

/** The ceilings of a class, with defaults for those that are not set. */
export function resolveCeilings(spec: AgentClassSpec) {
  return {
    ...DEFAULT_CEILINGS,
    ...Object.fromEntries(Object.entries(spec.ceilings).filter(([, value]) => value !== undefined)),
  };
}

/** Whether a list of names contains a namespace; `*` in the list matches all. */
export function allowsNamespace(allowed: readonly string[], namespace: string): boolean {
  return allowed.some((name) => name === '*' || name === namespace);
}
