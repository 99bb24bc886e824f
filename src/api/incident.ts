// The Incident: what is wrong, where, how to tell that it is fixed, and what became of it.

import { z } from 'zod';
import { limits, requestedLimits } from './limits.ts';
import { condition, objectMeta, time } from './meta.ts';

const dnsLabel = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
const celExpression = z.string().min(1).max(4096);

/** GET on a Service of a target namespace; `cel` sees `status` (int) and `body` (parsed JSON, or a string). */
export const httpCheck = z.object({
  service: dnsLabel.meta({ description: 'Name of the Service; it must select pods.' }),
  namespace: dnsLabel
    .optional()
    .meta({ description: "A target namespace; default: the Incident's first target namespace." }),
  port: z.number().int().min(1).max(65535).meta({ description: 'Port of the Service.' }),
  path: z.string().min(1).max(1024).regex(/^\//).default('/').meta({ description: 'Path and query of the GET.' }),
  scheme: z
    .enum(['http', 'https'])
    .default('http')
    .meta({ description: 'With https any certificate is taken: the answer is judged, not trusted.' }),
  cel: celExpression.meta({ description: 'CEL over `status` and `body`; only the boolean true passes.' }),
});

/** One object of a target namespace; `cel` sees `object`. Secrets are refused. */
export const kubernetesCheck = z
  .object({
    apiVersion: z.string().min(1).max(128).meta({ description: 'For example apps/v1.' }),
    kind: z.string().min(1).max(63).meta({ description: 'For example StatefulSet.' }),
    namespace: dnsLabel
      .optional()
      .meta({ description: "A target namespace; default: the Incident's first target namespace." }),
    name: z.string().min(1).max(253).meta({ description: 'Name of the object.' }),
    cel: celExpression.meta({ description: 'CEL over `object`; only the boolean true passes.' }),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: "self.kind != 'Secret'", message: 'kind: a check may not read Secrets; name another object' },
    ],
  });

/** One condition of the repair. */
export const check = z
  .object({
    name: dnsLabel.meta({ description: 'Unique among the checks; it names the check in status and events.' }),
    http: httpCheck.optional().meta({ description: 'GET on a Service of a target namespace.' }),
    kubernetes: kubernetesCheck.optional().meta({ description: 'One object of a target namespace.' }),
  })
  .meta({
    'x-kubernetes-validations': [
      { rule: 'has(self.http) != has(self.kubernetes)', message: 'a check has exactly one of: http, kubernetes' },
    ],
  });
export type Check = z.infer<typeof check>;
export type HttpCheck = z.infer<typeof httpCheck>;
export type KubernetesCheck = z.infer<typeof kubernetesCheck>;

export const severity = z.enum(['critical', 'warning', 'info']);
export type Severity = z.infer<typeof severity>;

const labelMap = z.record(z.string(), z.string().max(4096)).meta({ maxProperties: 64 });

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
    description: "Where the agent may work; default: the Incident's own namespace.",
  }),
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
  exhausted: z
    .enum(['turns', 'tokens', 'cost', 'time'])
    .optional()
    .meta({ description: 'The limit that is spent; set by the gateway when it refused a request for it.' }),
});
export type Usage = z.infer<typeof usage>;

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
