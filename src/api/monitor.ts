// The Monitor: runs a check at an interval, opens Incidents for alarms, and clears the alarms.

import * as z from 'zod';
import { check, checkTarget, namespaceRule } from './check.ts';
import { labelMap, severity } from './incident.ts';
import { requestedLimits, SOAK_FITS, soakSeconds } from './limits.ts';
import { conditionList, dnsLabel, objectMeta, time } from './meta.ts';

/**
 * The template of the Incidents. Its texts are filled in as in the annotations of a Prometheus
 * alert.
 */
export const incidentTemplate = z
  .object({
    summary: z.string().min(1).max(512).meta({
      description:
        'What is wrong, in one line. May contain {{ $labels.NAME }} and {{ $value }} of the failing sample, {{ $monitor }} and {{ $observed }}.',
    }),
    description: z.string().max(16384).optional().meta({
      description:
        'Anything else that an on-call engineer would want to know. May contain the same variables as summary.',
    }),
    agentClassName: z.string().min(1).max(253).default('default').meta({
      description: 'AgentClass of the Incidents. The Monitor runs its check with the readRoles of this class.',
    }),
    targetNamespaces: z.array(dnsLabel).min(1).max(8).optional().meta({
      'x-kubernetes-list-type': 'set',
      description:
        "Namespaces in which the checks read and the agent may work, never a namespace of oplab itself. Default: the Monitor's own namespace.",
    }),
    verify: z
      .object({
        soakSeconds,
        checks: z
          .array(check)
          .max(15)
          .default([])
          .meta({
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            description: "Checks that must hold in addition to the Monitor's own check.",
          }),
      })
      .prefault({})
      .meta({ description: 'What must hold before a repair counts as verified.' }),
    limits: requestedLimits
      .optional()
      .meta({ description: 'Limits of the Incidents. Values above the ceilings of the class have no effect.' }),
    suspend: z
      .boolean()
      .default(false)
      .meta({ description: 'Opens Incidents with spec.suspend set: no agent starts until someone sets it to false.' }),
  })
  .meta({ 'x-kubernetes-validations': [SOAK_FITS] });
export type IncidentTemplate = z.infer<typeof incidentTemplate>;

const TARGETS = 'self.incident.targetNamespaces';

export const monitorSpec = z
  .object({
    check: checkTarget.meta({
      description: 'The check to run. While it fails, there is an alarm.',
    }),
    groupBy: z.array(z.string().min(1).max(128)).min(1).max(8).optional().meta({
      'x-kubernetes-list-type': 'set',
      description:
        'Labels of the samples that distinguish alarms: each combination of their values gets its own Incident. Only for a prometheus check without cel. Default: one alarm for all samples.',
    }),
    intervalSeconds: z
      .number()
      .int()
      .min(1)
      .max(3600)
      .default(15)
      .meta({ description: 'Time between two runs of the check, in seconds.' }),
    forSeconds: z.number().int().min(0).max(86400).default(0).meta({
      description: 'How long the check must fail without interruption before an Incident is opened, in seconds.',
    }),
    clearSeconds: z.number().int().min(0).max(86400).default(30).meta({
      description: 'How long the check must hold without interruption before the alarm is cleared, in seconds.',
    }),
    severity: severity.default('warning').meta({ description: 'Severity of the Incidents.' }),
    labels: labelMap.optional().meta({ description: 'Labels that are added to alertLabels of the Incidents.' }),
    incident: incidentTemplate.meta({ description: 'Template of the Incidents.' }),
    suspend: z
      .boolean()
      .default(false)
      .meta({ description: 'Suspends the Monitor: it runs no check, and opens and clears nothing.' }),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `!has(self.incident.targetNamespaces) || (${namespaceRule('self.check', TARGETS)} && self.incident.verify.checks.all(c, ${namespaceRule('c', TARGETS)}))`,
        message: 'the namespace of each check must be in incident.targetNamespaces; add it there',
      },
      {
        rule: "!has(self.groupBy) || (has(self.check.prometheus) && self.check.prometheus.cel == 'size(samples) == 0')",
        message: 'groupBy: only allowed with a prometheus check that sets no cel; remove groupBy or cel',
      },
    ],
  });
export type MonitorSpec = z.infer<typeof monitorSpec>;

/** One alarm of a Monitor: one for each combination of the labels in groupBy, or a single one. */
export const monitorAlarm = z.object({
  fingerprint: z.string().meta({ description: 'Identifies the alarm across its episodes.' }),
  labels: labelMap.optional().meta({ description: 'Values of the labels in groupBy.' }),
  value: z.string().max(64).optional().meta({ description: 'Value of the failing sample when the check last failed.' }),
  state: z.enum(['Pending', 'Firing', 'Clearing']).meta({
    description:
      'Pending: the check fails, but not yet for forSeconds. Firing: the check failed long enough to open an Incident. Clearing: the check holds again, but not yet for clearSeconds.',
  }),
  since: time.meta({ description: 'When the alarm entered this state.' }),
  startTime: time.meta({ description: 'When this episode began.' }),
  lastSeen: time.meta({ description: 'When the check last failed.' }),
  occurrences: z.number().int().meta({ description: 'How often the check failed in this episode.' }),
  flaps: z.number().int().meta({ description: 'How often the alarm came back before it was cleared.' }),
  incident: z.string().optional().meta({ description: 'Name of the Incident that was opened for the alarm.' }),
});
export type MonitorAlarm = z.infer<typeof monitorAlarm>;

export const monitorStatus = z.object({
  observedGeneration: z
    .number()
    .int()
    .optional()
    .meta({ description: 'The metadata.generation that the status is based on.' }),
  state: z.enum(['Healthy', 'Pending', 'Firing', 'Unknown', 'Suspended']).optional().meta({
    description:
      'Summary for people. Unknown: the last observation failed, so no Incident is opened and no alarm is cleared.',
  }),
  message: z.string().max(4096).optional().meta({ description: 'The state in words, for people.' }),
  observed: z
    .string()
    .max(2048)
    .optional()
    .meta({ description: 'Result of the last successful observation, cut to 2048 characters.' }),
  lastObservedTime: time.optional().meta({ description: 'Time of the last successful observation.' }),
  conditions: conditionList(
    'Accepted: the spec is usable. Observed: the last observation succeeded. Healthy: the check holds.',
  ),
  alarms: z
    .array(monitorAlarm)
    .max(64)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['fingerprint'],
      description: 'The current alarms: one for each combination of the labels in groupBy, or a single one.',
    }),
});
export type MonitorStatus = z.infer<typeof monitorStatus>;

export const monitor = z.object({
  apiVersion: z.string(),
  kind: z.literal('Monitor'),
  metadata: objectMeta,
  spec: monitorSpec,
  status: monitorStatus.optional(),
});
export type Monitor = z.infer<typeof monitor>;

/** Condition types of a Monitor. */
export const MONITOR_CONDITIONS = {
  /** True: the spec is usable: its CEL parses, and the class allows its namespaces. */
  Accepted: 'Accepted',
  /** True: the last observation succeeded. False: it failed, and the reason says why. */
  Observed: 'Observed',
  /** True: the check holds. False: it fails. Unknown: the last observation failed. */
  Healthy: 'Healthy',
} as const;
