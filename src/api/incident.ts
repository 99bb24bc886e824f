// The Incident: what is wrong, where, and how to verify a repair. Its status has its own file.

import * as z from 'zod';
import { check } from './check.ts';
import { incidentStatus } from './incident-status.ts';
import { requestedLimits, soakSeconds } from './limits.ts';
import { dnsLabel, objectMeta, time } from './meta.ts';
import { SEVERITIES } from './severity.ts';

export const severity = z.enum(SEVERITIES);
export type Severity = z.infer<typeof severity>;

export const labelMap = z.record(z.string(), z.string().max(4096)).meta({ maxProperties: 64 });

/** The alarm that an Incident was opened for. Not set if a person created the Incident. */
export const incidentSource = z.object({
  kind: z.enum(['Monitor', 'Alertmanager', 'Webhook']).meta({ description: 'What raised the alarm.' }),
  name: z.string().min(1).max(253).meta({
    description:
      'Name of the Monitor, or of the route of the intake, then followed by a slash and the name of the alert.',
  }),
  fingerprint: z.string().min(1).max(128).meta({
    description:
      'Identifies the alarm in all its occurrences. At most one open Incident of a source has the same fingerprint.',
  }),
  startTime: time.meta({ description: 'When this episode of the alarm began.' }),
});
export type IncidentSource = z.infer<typeof incidentSource>;

/** The Monitor, or the route of the intake, that raised the alarm, whatever the alert is called. */
export function originName({ kind, name }: Pick<IncidentSource, 'kind' | 'name'>): string {
  return kind === 'Monitor' ? name : name.replace(/\/.*/s, '');
}

export const incidentSpec = z.object({
  summary: z.string().min(1).max(512).meta({ description: 'What is wrong, in one line.' }),
  description: z
    .string()
    .max(16384)
    .optional()
    .meta({ description: 'Anything else that an on-call engineer would want to know.' }),
  severity: severity
    .default('warning')
    .meta({ description: 'Severity. Waiting Incidents are ordered by severity, then by age.' }),
  agentClassName: z
    .string()
    .min(1)
    .max(253)
    .default('default')
    .meta({ description: 'The AgentClass whose permissions and ceilings apply.' }),
  targetNamespaces: z.array(dnsLabel).min(1).max(8).optional().meta({
    'x-kubernetes-list-type': 'set',
    description:
      "Namespaces in which the agent may work, never a namespace of oplab itself. Default: the Incident's own namespace.",
  }),
  source: incidentSource
    .optional()
    .meta({ description: 'The alarm that the Incident was opened for. Only oplab may set this field.' }),
  alertLabels: labelMap.optional().meta({ description: 'Labels of the alert that the Incident was opened for.' }),
  alertAnnotations: labelMap
    .optional()
    .meta({ description: 'Annotations of the alert that the Incident was opened for.' }),
  verify: z
    .object({
      soakSeconds,
      checks: z
        .array(check)
        .min(1)
        .max(16)
        .meta({
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          description: 'The checks. All must hold at the same time.',
        }),
    })
    .meta({ description: 'What must hold before a repair counts as verified.' }),
  limits: requestedLimits
    .optional()
    .meta({ description: 'Limits of the Incident. Values above the ceilings of the class have no effect.' }),
  suspend: z
    .boolean()
    .default(false)
    .meta({ description: 'Holds the Incident: no attempt starts, and the Incident does not close by itself.' }),
  cancel: z.boolean().default(false).meta({
    description: 'Aborts the Incident: its lease ends and its pod is deleted. Once set, it cannot be unset.',
  }),
});
export type IncidentSpec = z.infer<typeof incidentSpec>;

export const incident = z.object({
  apiVersion: z.string(),
  kind: z.literal('Incident'),
  metadata: objectMeta,
  spec: incidentSpec,
  status: incidentStatus.optional(),
});
export type Incident = z.infer<typeof incident>;

/** Condition types of an Incident, in the order in which they become true. */
export const CONDITIONS = {
  Accepted: 'Accepted',
  AgentRunning: 'AgentRunning',
  RepairClaimed: 'RepairClaimed',
  Verified: 'Verified',
  AuditSealed: 'AuditSealed',
  /** Only set while the log contradicts the status: False, with the reason AuditBroken. */
  AuditIntact: 'AuditIntact',
  /** Only set after a write that no command explains: False, with the reason UnexplainedWrite. */
  WritesExplained: 'WritesExplained',
  /** Only set once the agent touched a tripwire: False, with the reason TripwireTouched. */
  TripwiresIntact: 'TripwiresIntact',
  /** Only set while the audit log accepts no new work: False, with the reason. */
  AuditWritable: 'AuditWritable',
  /** Only set while the calls of the agent's model fail in a way that may pass: False, with the reason. */
  ModelAnswers: 'ModelAnswers',
  Finished: 'Finished',
  Succeeded: 'Succeeded',
  Reconciling: 'Reconciling',
  Stalled: 'Stalled',
} as const;

/** The namespaces in which the agent may work. */
export function listTargetNamespaces(incident: Pick<Incident, 'spec' | 'metadata'>): readonly string[] {
  return incident.spec.targetNamespaces ?? [incident.metadata.namespace ?? 'default'];
}

/** The session of an Incident is its UID: one hash chain covers all its attempts. */
export function sessionId(incident: Pick<Incident, 'metadata'>): string {
  return incident.metadata.uid;
}
