// The Incident: what is wrong, where, how to tell that it is fixed, and what became of it.

import { z } from 'zod';
import { check } from './check.ts';
import { dockerAccess } from './docker-access.ts';
import { limits, requestedLimits } from './limits.ts';
import { condition, dnsLabel, objectMeta, time } from './meta.ts';
import { SEVERITIES } from './severity.ts';

export const severity = z.enum(SEVERITIES);
export type Severity = z.infer<typeof severity>;

export const labelMap = z.record(z.string(), z.string().max(4096)).meta({ maxProperties: 64 });

/** The alarm that an Incident was opened for; absent when a person wrote it. */
export const incidentSource = z.object({
  kind: z.enum(['Monitor', 'Alertmanager', 'Webhook']).meta({ description: 'Who raised it.' }),
  name: z.string().min(1).max(253).meta({ description: "The Monitor, or the intake's route." }),
  fingerprint: z
    .string()
    .min(1)
    .max(128)
    .meta({ description: 'The same for all occurrences of the alarm; one Incident at a time has it.' }),
  startTime: time.meta({ description: 'When this episode of the alarm began.' }),
});
export type IncidentSource = z.infer<typeof incidentSource>;

export const incidentSpec = z.object({
  summary: z.string().min(1).max(512).meta({ description: 'What is wrong, in one line.' }),
  description: z
    .string()
    .max(16384)
    .optional()
    .meta({ description: 'Whatever else a person on call would want to know.' }),
  severity: severity.default('warning').meta({ description: 'Orders the queue, then age.' }),
  agentClassName: z
    .string()
    .min(1)
    .max(253)
    .default('default')
    .meta({ description: 'The AgentClass whose rights and ceilings apply.' }),
  targetNamespaces: z.array(dnsLabel).min(1).max(8).optional().meta({
    'x-kubernetes-list-type': 'set',
    description: "Where the agent may work, never a namespace of oplab itself; default: the Incident's own namespace.",
  }),
  source: incidentSource
    .optional()
    .meta({ description: 'The alarm that opened it; written by oplab, and refused from anybody else.' }),
  alertLabels: labelMap.optional().meta({ description: 'Labels of the alert that opened it, as the alarm gave them.' }),
  alertAnnotations: labelMap.optional().meta({ description: 'Annotations of the alert that opened it.' }),
  verify: z
    .object({
      soakSeconds: z
        .number()
        .int()
        .min(0)
        .max(3600)
        .default(30)
        .meta({ description: 'All checks must hold this long without a break.' }),
      checks: z
        .array(check)
        .min(1)
        .max(16)
        .meta({
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          description: 'All must hold at the same time.',
        }),
    })
    .meta({ description: 'What must hold before a repair counts.' }),
  limits: requestedLimits.optional().meta({ description: "May lower the class's ceilings, never raise them." }),
  suspend: z.boolean().default(false).meta({ description: 'Hold: nothing starts, nothing closes by itself.' }),
  cancel: z.boolean().default(false).meta({ description: 'Abort: the lease dies, the pod goes. One-way.' }),
});
export type IncidentSpec = z.infer<typeof incidentSpec>;

/** For people; nothing branches on it. */
export const phase = z.enum(['Pending', 'Running', 'Verifying', 'Resolved', 'Escalated', 'Failed', 'Cancelled']);
export type Phase = z.infer<typeof phase>;

/** What the agent says of its work. A claim, not a result. */
export const claimOutcome = z.enum(['Fixed', 'NothingWrong', 'CannotFix']);
export type ClaimOutcome = z.infer<typeof claimOutcome>;

export const claim = z.object({
  attempt: z.number().int(),
  outcome: claimOutcome,
  summary: z.string().max(4096),
  rootCause: z.string().max(4096),
  actions: z.array(z.string().max(1024)).max(32).meta({ 'x-kubernetes-list-type': 'atomic' }),
  time,
});
export type Claim = z.infer<typeof claim>;

/** The part of the AgentClass that the attempt runs with, fixed when it starts. */
export const classSnapshot = z.object({
  name: z.string(),
  generation: z.number().int(),
  mode: z.enum(['Repair', 'Diagnose']),
  model: z.string(),
  summaryModel: z.string(),
  maxOutputTokens: z.number().int(),
  promptAdditions: z.string().optional(),
  docker: dockerAccess.optional(),
});
export type ClassSnapshot = z.infer<typeof classSnapshot>;

/** Why an attempt ended; absent while it lasts. */
export const attemptReason = z.enum([
  'Claimed',
  'ChecksFailed',
  'Interrupted',
  'LimitReached',
  'Cancelled',
  'Deleted',
  'StartFailed',
]);
export type AttemptReason = z.infer<typeof attemptReason>;

export const attempt = z.object({
  number: z.number().int(),
  sessionID: z.string(),
  podName: z.string(),
  podUID: z.string().optional(),
  serviceAccountName: z.string(),
  class: classSnapshot,
  startTime: time,
  endTime: time.optional(),
  reason: attemptReason.optional(),
  message: z.string().max(4096).optional(),
});
export type Attempt = z.infer<typeof attempt>;

/** The last observation of one check. */
export const checkResult = z.object({
  name: z.string(),
  passing: z.boolean(),
  observed: z.string().max(2048).optional().meta({ description: 'What was seen, cut to 2 KiB.' }),
  error: z
    .string()
    .max(1024)
    .optional()
    .meta({ description: 'Why nothing could be seen; such a check does not pass.' }),
  baseline: z.string().max(2048).optional().meta({ description: 'What was seen before the first command.' }),
  observedTime: time,
  passingSince: time.optional(),
});
export type CheckResult = z.infer<typeof checkResult>;

export const usage = z.object({
  turns: z.number().int(),
  modelCalls: z.number().int(),
  inputTokens: z.number().int(),
  outputTokens: z.number().int(),
  cacheReadTokens: z.number().int(),
  cacheWriteTokens: z.number().int(),
  costMilliUSD: z.number().int().meta({ description: 'Rounded up.' }),
  limitReached: z
    .enum(['turns', 'tokens', 'cost', 'time'])
    .optional()
    .meta({ description: 'The limit that is reached; set by the gateway when it refused a request for it.' }),
});
export type Usage = z.infer<typeof usage>;

/** The alarm behind the Incident, as it goes on; written with a field manager of its own. */
export const alarmStatus = z.object({
  state: z.enum(['Firing', 'Cleared']),
  occurrences: z.number().int().meta({ description: 'How often it was seen.' }),
  firstSeen: time,
  lastSeen: time,
  startTime: time
    .optional()
    .meta({ description: 'When it last began to fire; later than the start of the episode when it came back.' }),
  clearedTime: time.optional(),
  flaps: z.number().int().default(0).meta({ description: 'How often it came back while this Incident was open.' }),
});
export type AlarmStatus = z.infer<typeof alarmStatus>;

/** How much of a baseline is kept: the status is read and written often. Readings in characters each. */
export const MAX_WORKLOADS = 64;
export const MAX_VOLUME_CLAIMS = 128;
export const MAX_READING = 16_384;

/** What stood before the first command, and must stand after the last. */
export const baseline = z.object({
  time,
  workloads: z
    .array(
      z.object({
        kind: z.string(),
        namespace: z.string(),
        name: z.string(),
        replicas: z
          .number()
          .int()
          .meta({ description: 'As many must be asked for afterwards; with an autoscaler no more than its minimum.' }),
      }),
    )
    .max(MAX_WORKLOADS)
    .meta({ 'x-kubernetes-list-type': 'atomic' }),
  volumeClaims: z
    .array(z.object({ namespace: z.string(), name: z.string() }))
    .max(MAX_VOLUME_CLAIMS)
    .meta({ 'x-kubernetes-list-type': 'atomic' }),
  omitted: z
    .number()
    .int()
    .optional()
    .meta({ description: 'How many workloads and volume claims stood besides and are not looked after.' }),
  readings: z
    .array(
      z.object({
        check: z.string(),
        json: z.string().max(MAX_READING).meta({ description: 'The parts of the reading that its CEL names.' }),
      }),
    )
    .max(16)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'atomic',
      description: 'What checks read then, for those whose CEL speaks of `baseline`.',
    }),
});
export type Baseline = z.infer<typeof baseline>;

/** A write that passed a door of the gateway; kept by the gateway, whatever the agent says. */
export const witnessedChange = z.object({
  attempt: z.number().int(),
  seq: z.number().int().meta({ description: 'Of its intent in the audit log.' }),
  plane: z.enum(['kubernetes', 'docker']),
  text: z.string().max(512).meta({ description: 'For example: patch apps/v1 StatefulSet tikv/tikv-tikv.' }),
});
export type WitnessedChange = z.infer<typeof witnessedChange>;
export const witnessedChanges = z.object({
  count: z.number().int(),
  last: z.array(witnessedChange).max(16).meta({ 'x-kubernetes-list-type': 'atomic' }),
});
export type WitnessedChanges = z.infer<typeof witnessedChanges>;

/** For the person who takes over an escalated Incident. */
export const handover = z.object({
  summary: z.string().max(4096).meta({ description: 'What is wrong, as far as is known.' }),
  attempts: z.array(z.string().max(1024)).max(16).meta({ 'x-kubernetes-list-type': 'atomic' }),
  changes: z.array(z.string().max(1024)).max(16).meta({ 'x-kubernetes-list-type': 'atomic' }),
  nextSteps: z.array(z.string().max(1024)).max(16).meta({ 'x-kubernetes-list-type': 'atomic' }),
});
export type Handover = z.infer<typeof handover>;

/** One message to one receiver; written before it is sent, so that it is never sent twice. */
export const notification = z.object({
  receiver: z.string().max(63),
  event: z.enum(['Escalated', 'Resolved']),
  state: z.enum(['Sending', 'Sent', 'Retrying', 'Failed', 'Indeterminate']),
  tries: z.number().int(),
  time,
  message: z.string().max(1024).optional(),
});
export type Notification = z.infer<typeof notification>;

/** One line of the trail in status, cut to 512 bytes. */
export const tailEntry = z.object({
  seq: z.number().int(),
  time,
  kind: z.string(),
  tool: z.string().optional(),
  text: z.string(),
});
export type TailEntry = z.infer<typeof tailEntry>;

export const auditStatus = z.object({
  sessionID: z.string().optional(),
  entries: z.number().int().optional().meta({ description: 'Entries in the SQLite log so far.' }),
  headHash: z.string().optional().meta({ description: 'Hash of the last entry: the anchor of the chain.' }),
  finalHeadHash: z.string().optional().meta({ description: 'Set by the gateway when it has sealed the session.' }),
  sealedHeadHash: z
    .string()
    .optional()
    .meta({
      description: 'Set by the controller, once.',
      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'sealedHeadHash is written once' }],
    }),
  tail: z.array(tailEntry).optional().meta({ 'x-kubernetes-list-type': 'atomic', description: 'The last 20 entries.' }),
});
export type AuditStatus = z.infer<typeof auditStatus>;

export const incidentStatus = z.object({
  observedGeneration: z.number().int().optional(),
  phase: phase.optional(),
  message: z.string().max(4096).optional().meta({ description: 'The state in one sentence, for people.' }),
  conditions: z
    .array(condition)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] }),
  startTime: time.optional().meta({ description: 'Start of the first attempt; the time limit counts from here.' }),
  finishTime: time.optional(),
  limits: limits.optional().meta({ description: 'The limits in force.' }),
  attempts: z
    .array(attempt)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['number'] }),
  claim: claim.optional(),
  verification: z
    .array(checkResult)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] }),
  soak: z
    .object({
      startTime: time.optional().meta({ description: 'Since when all checks hold; absent when one does not.' }),
      restarts: z.number().int().meta({ description: 'How often the soak had to start again.' }),
    })
    .optional(),
  baseline: baseline.optional(),
  handover: handover.optional(),
  notifications: z
    .array(notification)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['receiver', 'event'] }),
  alarm: alarmStatus.optional(),
  changes: witnessedChanges.optional(),
  usage: usage.optional(),
  audit: auditStatus.optional(),
});
export type IncidentStatus = z.infer<typeof incidentStatus>;

export const incident = z.object({
  apiVersion: z.string(),
  kind: z.literal('Incident'),
  metadata: objectMeta,
  spec: incidentSpec,
  status: incidentStatus.optional(),
});
export type Incident = z.infer<typeof incident>;

/** Condition types of an Incident, in the order in which they come true. */
export const CONDITIONS = {
  Accepted: 'Accepted',
  AgentRunning: 'AgentRunning',
  RepairClaimed: 'RepairClaimed',
  Verified: 'Verified',
  AuditSealed: 'AuditSealed',
  Finished: 'Finished',
  Succeeded: 'Succeeded',
  Reconciling: 'Reconciling',
  Stalled: 'Stalled',
} as const;

/** Where the agent may work. */
export function targetNamespacesOf(incident: Pick<Incident, 'spec' | 'metadata'>): readonly string[] {
  return incident.spec.targetNamespaces ?? [incident.metadata.namespace ?? 'default'];
}

/** One hash chain per Incident, over all its attempts: the session is the Incident's UID. */
export function sessionOf(incident: Pick<Incident, 'metadata'>): string {
  return incident.metadata.uid;
}
