// The Monitor: a check that is made again and again, and opens, counts and closes Incidents.

import { z } from 'zod';
import { check, checkTarget, looksInto } from './check.ts';
import { labelMap, severity } from './incident.ts';
import { requestedLimits, SOAK_FITS } from './limits.ts';
import { condition, dnsLabel, objectMeta, time } from './meta.ts';

/** What the Incident of an alarm looks like. Texts are filled in as in Prometheus' alert annotations. */
export const incidentTemplate = z
  .object({
    summary: z.string().min(1).max(512).meta({
      description:
        'May use {{ $labels.NAME }} and {{ $value }} of the failing sample, {{ $monitor }}, {{ $observed }}.',
    }),
    description: z.string().max(16384).optional().meta({ description: 'Likewise.' }),
    agentClassName: z.string().min(1).max(253).default('default').meta({ description: 'As in an Incident.' }),
    targetNamespaces: z.array(dnsLabel).min(1).max(8).optional().meta({
      'x-kubernetes-list-type': 'set',
      description: "As in an Incident; default: the Monitor's own namespace.",
    }),
    verify: z
      .object({
        soakSeconds: z.number().int().min(0).max(3600).default(30).meta({ description: 'As in an Incident.' }),
        checks: z
          .array(check)
          .max(15)
          .default([])
          .meta({
            'x-kubernetes-list-type': 'map',
            'x-kubernetes-list-map-keys': ['name'],
            description: "Besides the Monitor's own check, which always must hold.",
          }),
      })
      .prefault({})
      .meta({ description: 'What must hold before a repair counts.' }),
    limits: requestedLimits.optional().meta({ description: 'As in an Incident.' }),
    suspend: z
      .boolean()
      .default(false)
      .meta({ description: 'Incidents are opened on hold: nothing starts until somebody releases them.' }),
  })
  .meta({ 'x-kubernetes-validations': [SOAK_FITS] });
export type IncidentTemplate = z.infer<typeof incidentTemplate>;

const TARGETS = 'self.incident.targetNamespaces';

export const monitorSpec = z
  .object({
    check: checkTarget.meta({ description: 'Must hold while all is well; when it does not, the alarm is on.' }),
    groupBy: z.array(z.string().min(1).max(128)).min(1).max(8).optional().meta({
      'x-kubernetes-list-type': 'set',
      description:
        'Labels of the samples by which alarms are told apart: one Incident for each combination. Only for prometheus without cel; default: one for all.',
    }),
    intervalSeconds: z
      .number()
      .int()
      .min(1)
      .max(3600)
      .default(15)
      .meta({ description: 'From one look to the next, in seconds.' }),
    forSeconds: z
      .number()
      .int()
      .min(0)
      .max(86400)
      .default(0)
      .meta({ description: 'The check must fail this long without a break before an Incident is opened.' }),
    clearSeconds: z
      .number()
      .int()
      .min(0)
      .max(86400)
      .default(30)
      .meta({ description: 'The check must hold this long without a break before the alarm counts as cleared.' }),
    severity: severity.default('warning').meta({ description: 'Of the Incidents.' }),
    labels: labelMap.optional().meta({ description: "Added to the Incidents' alertLabels." }),
    incident: incidentTemplate.meta({ description: 'What the Incidents look like.' }),
    suspend: z.boolean().default(false).meta({ description: 'Do not look; open and close nothing.' }),
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: `!has(self.incident.targetNamespaces) || (${looksInto('self.check', TARGETS)} && self.incident.verify.checks.all(c, ${looksInto('c', TARGETS)}))`,
        message: 'a check may look only into the namespaces of incident.targetNamespaces; add its namespace there',
      },
      {
        rule: "!has(self.groupBy) || (has(self.check.prometheus) && self.check.prometheus.cel == 'size(samples) == 0')",
        message: 'groupBy: only a prometheus check without cel has samples to tell apart; leave groupBy or cel out',
      },
    ],
  });
export type MonitorSpec = z.infer<typeof monitorSpec>;

/** One alarm of a Monitor: a combination of the labels in groupBy, or the only one there is. */
export const monitorAlarm = z.object({
  fingerprint: z.string(),
  labels: labelMap.optional(),
  value: z.string().max(64).optional(),
  state: z
    .enum(['Pending', 'Firing', 'Clearing'])
    .meta({ description: 'Pending: fails, not yet for forSeconds. Clearing: holds, not yet for clearSeconds.' }),
  since: time.meta({ description: 'Since when it is in this state.' }),
  startTime: time.meta({ description: 'When this episode began.' }),
  lastSeen: time,
  occurrences: z.number().int(),
  flaps: z.number().int().meta({ description: 'How often it came back before it had cleared.' }),
  incident: z.string().optional().meta({ description: 'Name of the Incident that is open for it.' }),
});
export type MonitorAlarm = z.infer<typeof monitorAlarm>;

export const monitorStatus = z.object({
  observedGeneration: z.number().int().optional(),
  state: z
    .enum(['Healthy', 'Pending', 'Firing', 'Unknown', 'Suspended'])
    .optional()
    .meta({ description: 'For people. Unknown: nothing could be seen; it neither opens nor closes anything.' }),
  message: z.string().max(4096).optional(),
  observed: z.string().max(2048).optional().meta({ description: 'What was seen last, cut to 2 KiB.' }),
  lastObservedTime: time.optional().meta({ description: 'When something could be seen last.' }),
  conditions: z
    .array(condition)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] }),
  alarms: z
    .array(monitorAlarm)
    .max(64)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['fingerprint'] }),
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
  /** The spec can be worked with: the CEL compiles, the namespaces are allowed. */
  Accepted: 'Accepted',
  /** True: the last look saw something. False: it did not, and the reason says why. */
  Observed: 'Observed',
  /** True: the check holds. False: it does not. Unknown: nothing could be seen. */
  Healthy: 'Healthy',
} as const;
