// The AgentClass: what the platform owner allows agents to be and to do. Cluster-scoped, like IngressClass.

import { z } from 'zod';
import { DEFAULT_CEILINGS, limits } from './limits.ts';
import { objectMeta } from './meta.ts';

/** The SDK's current Opus; the agent thinks with it unless the class says otherwise. */
export const DEFAULT_MODEL = 'claude-opus-5-5';
/** The SDK's current Haiku; it writes the one-line summaries of tool results. */
export const DEFAULT_SUMMARY_MODEL = 'claude-haiku-5-5';

const quantityMap = z.record(z.string(), z.string().max(32)).meta({ maxProperties: 8 });
const resources = z.object({ requests: quantityMap.optional(), limits: quantityMap.optional() });

const roleReference = z.object({
  kind: z
    .enum(['ClusterRole', 'Role'])
    .default('ClusterRole')
    .meta({ description: 'A Role must exist in each target namespace.' }),
  name: z.string().min(1).max(253),
});
export type RoleReference = z.infer<typeof roleReference>;

const roleList = z.array(roleReference).max(8).meta({ 'x-kubernetes-list-type': 'atomic' });
const namespacePatterns = z
  .array(z.string().min(1).max(63))
  .max(64)
  .default(['*'])
  .meta({ 'x-kubernetes-list-type': 'set' });

export const agentClassSpec = z.object({
  mode: z
    .enum(['Repair', 'Diagnose'])
    .default('Repair')
    .meta({ description: 'Diagnose binds only readRoles: the agent can look, and its claim can never be Fixed.' }),
  model: z
    .object({
      name: z.string().min(1).max(128).default(DEFAULT_MODEL),
      summaryName: z.string().min(1).max(128).default(DEFAULT_SUMMARY_MODEL),
      maxOutputTokens: z.number().int().min(256).max(128000).default(16000),
    })
    .prefault({}),
  promptAdditions: z
    .string()
    .max(16384)
    .optional()
    .meta({ description: 'Appended to the system prompt: facts about your platform, not a playbook.' }),
  images: z.object({
    agent: z.string().min(1).max(512),
    sandbox: z.string().min(1).max(512),
    pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent'),
  }),
  runtimeClassName: z.string().min(1).max(253).optional().meta({ description: 'For example gvisor or kata.' }),
  priorityClassName: z.string().min(1).max(253).optional(),
  resources: z.object({ agent: resources.optional(), sandbox: resources.optional() }).optional(),
  repairRoles: roleList.default([]).meta({
    description:
      "Bound to the agent in each target namespace in mode Repair. The controller's bind right must list them.",
  }),
  readRoles: roleList
    .default([])
    .meta({ description: 'Bound in mode Diagnose, and always to the identity that runs the checks.' }),
  incidentNamespaces: namespacePatterns.meta({
    description: 'Where Incidents of this class may live; * is everywhere.',
  }),
  targetNamespaces: namespacePatterns.meta({ description: 'Where agents of this class may work; * is everywhere.' }),
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
export function allowsNamespace(patterns: readonly string[], namespace: string): boolean {
  return patterns.some((pattern) => pattern === '*' || pattern === namespace);
}
