// The status of an Incident: what has happened so far, as the controller and the gateway write it.

import * as z from 'zod';
import { modelRefusal } from './agent-report.ts';
import { dockerAccess } from './docker-access.ts';
import { limits } from './limits.ts';
import { conditionList, time } from './meta.ts';
import { modelOptions } from './model-options.ts';

/** Summary for people. No decision depends on it. */
export const phase = z.enum(['Pending', 'Running', 'Verifying', 'Resolved', 'Escalated', 'Failed', 'Cancelled']);
export type Phase = z.infer<typeof phase>;

/** What the agent claims about its work. A claim is not a result. */
export const claimOutcome = z.enum(['Fixed', 'NothingWrong', 'CannotFix']);
export type ClaimOutcome = z.infer<typeof claimOutcome>;

export const claim = z.object({
  attempt: z.number().int().meta({ description: 'Number of the attempt that made the claim.' }),
  outcome: claimOutcome.meta({ description: 'What the agent claims. Only the checks verify it.' }),
  summary: z.string().max(4096).meta({ description: "The agent's summary." }),
  rootCause: z.string().max(4096).meta({ description: 'The root cause, as the agent sees it.' }),
  actions: z
    .array(z.string().max(1024))
    .max(32)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'What the agent did, in its own words.' }),
  time: time.meta({ description: 'When the agent made the claim.' }),
});
export type Claim = z.infer<typeof claim>;

/** The part of the AgentClass that an attempt runs with. It is fixed when the attempt starts. */
export const classSnapshot = z.object({
  name: z.string().meta({ description: 'Name of the AgentClass.' }),
  generation: z.number().int().meta({ description: 'The metadata.generation of the AgentClass.' }),
  mode: z.enum(['Repair', 'Diagnose']).meta({ description: 'The mode of the AgentClass.' }),
  model: z.string().meta({ description: 'The model that the agent uses.' }),
  summaryModel: z.string().meta({ description: 'The model that summarizes long results of commands.' }),
  maxOutputTokens: z
    .number()
    .int()
    .meta({ description: 'Maximum number of output tokens in one response of the agent model.' }),
  modelOptions: modelOptions.optional().meta({ description: 'How the agent model is asked.' }),
  runbooks: z.enum(['Always', 'SingleTarget', 'Never']).optional().meta({
    description: 'Which target namespaces give the agent their runbooks. Not set: SingleTarget.',
  }),
  promptAdditions: z.string().optional().meta({ description: 'Text appended to the system prompt.' }),
  docker: dockerAccess.optional().meta({ description: 'Access to a Docker host, if the class grants it.' }),
});
export type ClassSnapshot = z.infer<typeof classSnapshot>;

/** Why an attempt ended. Not set while it runs. */
export const attemptReason = z.enum([
  'Claimed',
  'ChecksFailed',
  'Interrupted',
  'LimitReached',
  'ModelFailed',
  'TripwireTouched',
  'Cancelled',
  'Deleted',
  'StartFailed',
  'AuditBroken',
  'UnexplainedWrite',
]);
export type AttemptReason = z.infer<typeof attemptReason>;

export const attempt = z.object({
  number: z.number().int().meta({ description: 'Number of the attempt, from 1.' }),
  sessionID: z.string().meta({ description: 'Session in the audit log, the same for all attempts.' }),
  podName: z.string().meta({ description: "Name of the agent pod in the agents' namespace." }),
  podUID: z.string().optional().meta({ description: 'UID of the agent pod. Not set until the pod is created.' }),
  serviceAccountName: z.string().meta({ description: 'Service account that the kube door uses for the attempt.' }),
  class: classSnapshot.meta({ description: 'The AgentClass as it was when the attempt started.' }),
  startTime: time.meta({ description: 'When the attempt started.' }),
  endTime: time.optional().meta({ description: 'When the attempt ended. Not set while it runs.' }),
  reason: attemptReason.optional().meta({ description: 'Why the attempt ended. Not set while it runs.' }),
  message: z.string().max(4096).optional().meta({ description: 'Why the attempt ended, for people.' }),
  refusal: modelRefusal.optional().meta({ description: 'The answer with which the model declined, if it did.' }),
});
export type Attempt = z.infer<typeof attempt>;

/** The last observation of one check. */
export const checkResult = z.object({
  name: z.string().meta({ description: "Name of the check, or baseline for oplab's own result." }),
  passing: z.boolean().meta({ description: 'Whether the check passes.' }),
  observed: z.string().max(2048).optional().meta({ description: 'What was observed, cut to 2048 characters.' }),
  error: z
    .string()
    .max(1024)
    .optional()
    .meta({ description: 'Why the observation or its evaluation failed. Such a check does not pass.' }),
  baseline: z.string().max(2048).optional().meta({ description: 'What was observed before the first command.' }),
  observedTime: time.meta({ description: 'Time of the observation.' }),
  passingSince: time.optional().meta({ description: 'Since when the check passes. Not set if it does not pass.' }),
});
export type CheckResult = z.infer<typeof checkResult>;

export const usage = z.object({
  turns: z.number().int().meta({ description: 'Number of responses of the agent model.' }),
  modelCalls: z.number().int().meta({ description: 'Number of calls to all models.' }),
  inputTokens: z.number().int().meta({ description: 'Number of input tokens, without the cache.' }),
  outputTokens: z.number().int().meta({ description: 'Number of output tokens.' }),
  cacheReadTokens: z.number().int().meta({ description: 'Number of input tokens that were read from the cache.' }),
  cacheWriteTokens: z.number().int().meta({ description: 'Number of input tokens that were written to the cache.' }),
  costMilliUSD: z.number().int().meta({ description: 'Cost in thousandths of a US dollar, rounded up.' }),
  agentRestarts: z.number().int().optional().meta({
    description: 'How often an agent was started again in its pod and went on. Not set if none was.',
  }),
  limitReached: z.enum(['turns', 'tokens', 'cost', 'time', 'record', 'day']).optional().meta({
    description:
      "The limit that was reached; record is the share of the audit log, day the daily quota of the Incident's AgentClass. The gateway sets it when it refuses a request because of it.",
  }),
});
export type Usage = z.infer<typeof usage>;

/**
 * The tokens that count towards a limit. Reads of the cache do not: a conversation reads all of itself
 * again in each turn, so they would end it long before its cost does, which includes them.
 */
export function countedTokens(used: Pick<Usage, 'inputTokens' | 'outputTokens' | 'cacheWriteTokens'>): number {
  return used.inputTokens + used.outputTokens + used.cacheWriteTokens;
}

/** The state of the alarm behind the Incident. It has its own field manager. */
export const alarmStatus = z.object({
  state: z.enum(['Firing', 'Cleared']).meta({ description: 'Whether the alarm still fires.' }),
  occurrences: z.number().int().meta({ description: 'How often the alarm was observed.' }),
  firstSeen: time.meta({ description: 'When the alarm was first observed.' }),
  lastSeen: time.meta({ description: 'When the alarm was last observed.' }),
  startTime: time.optional().meta({
    description: 'When the alarm last began to fire. Later than the start of the episode if the alarm came back.',
  }),
  clearedTime: time.optional().meta({ description: 'When the alarm was cleared.' }),
  flaps: z
    .number()
    .int()
    .default(0)
    .meta({ description: 'How often the alarm came back while this Incident was open.' }),
});
export type AlarmStatus = z.infer<typeof alarmStatus>;

/** How much of a baseline is kept, because the status is read and written often. */
export const MAX_WORKLOADS = 64;
export const MAX_VOLUME_CLAIMS = 128;
/** Of each reading, in characters. */
export const MAX_READING = 16_384;

/** What existed before the first command, and must still exist after the last. */
export const baseline = z.object({
  time: time.meta({ description: 'When the baseline was read.' }),
  workloads: z
    .array(
      z.object({
        kind: z.string().meta({ description: 'StatefulSet or Deployment.' }),
        namespace: z.string().meta({ description: 'Namespace of the workload.' }),
        name: z.string().meta({ description: 'Name of the workload.' }),
        replicas: z.number().int().meta({
          description:
            'Number of replicas that the workload must still request afterwards. At most the minimum of its autoscaler, if it has one.',
        }),
      }),
    )
    .max(MAX_WORKLOADS)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'StatefulSets and Deployments.' }),
  volumeClaims: z
    .array(
      z.object({
        namespace: z.string().meta({ description: 'Namespace of the PersistentVolumeClaim.' }),
        name: z.string().meta({ description: 'Name of the PersistentVolumeClaim.' }),
      }),
    )
    .max(MAX_VOLUME_CLAIMS)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'PersistentVolumeClaims.' }),
  omitted: z
    .number()
    .int()
    .optional()
    .meta({ description: 'How many more workloads and volume claims existed. They are not checked.' }),
  readings: z
    .array(
      z.object({
        check: z.string().meta({ description: 'Name of the check.' }),
        json: z
          .string()
          .max(MAX_READING)
          .meta({ description: 'The parts of the reading that the CEL expression refers to, as JSON.' }),
      }),
    )
    .max(16)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'atomic',
      description: 'What the checks whose CEL expression uses `baseline` read before the first command.',
    }),
});
export type Baseline = z.infer<typeof baseline>;

/**
 * A write that passed a door of the gateway. The gateway records it, whatever the agent reports.
 */
export const recordedChange = z.object({
  attempt: z.number().int().meta({ description: 'Number of the attempt that made the write.' }),
  seq: z.number().int().meta({ description: 'Sequence number of its intent in the audit log.' }),
  command: z
    .number()
    .int()
    .optional()
    .meta({ description: 'Sequence number of the command that was running when the write arrived.' }),
  plane: z.enum(['kubernetes', 'docker']).meta({ description: 'What was written to.' }),
  text: z
    .string()
    .max(512)
    .meta({ description: 'The write in words, for example: patch apps/v1 StatefulSet tikv/tikv-tikv.' }),
});
export type RecordedChange = z.infer<typeof recordedChange>;

/** The subresources of a pod by which a process gets into it. */
export const ENTRANCES = ['exec', 'attach', 'ephemeralcontainers'] as const;

/** A pod in which the agent could start processes, which live on after its lease. */
export const enteredPod = z.object({
  namespace: z.string().max(63).meta({ description: 'Namespace of the pod.' }),
  name: z.string().max(253).meta({ description: 'Name of the pod.' }),
  by: z
    .array(z.enum(ENTRANCES))
    .max(ENTRANCES.length)
    .meta({ 'x-kubernetes-list-type': 'set', description: 'How the agent got into it.' }),
  seq: z.number().int().meta({ description: 'Sequence number of the latest such request in the audit log.' }),
});
export type EnteredPod = z.infer<typeof enteredPod>;
export const enteredPods = z.object({
  count: z.number().int().meta({ description: 'Number of pods so far.' }),
  last: z
    .array(enteredPod)
    .max(32)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'The 32 that were entered last.' }),
});
export type EnteredPods = z.infer<typeof enteredPods>;

export const recordedChanges = z.object({
  count: z.number().int().meta({ description: 'Number of writes so far.' }),
  last: z
    .array(recordedChange)
    .max(16)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'The latest 16 writes.' }),
  enteredPods: enteredPods.optional().meta({
    description:
      'Pods that the agent executed commands in, attached to, or added ephemeral containers to. What it started there may still run.',
  }),
});
export type RecordedChanges = z.infer<typeof recordedChanges>;

const handoverList = (description: string) =>
  z.array(z.string().max(1024)).max(16).meta({ 'x-kubernetes-list-type': 'atomic', description });

/** Most steps of a hand-over. */
export const MAX_STEPS = 32;

/** What to do next. Only `command` is a command: `what` quotes authors and agents. */
export const handoverStep = z.object({
  what: z.string().max(1024).meta({ description: 'What to do, or what the command shows. For people; not a command.' }),
  command: z.array(z.string().max(4096)).min(1).max(32).optional().meta({
    'x-kubernetes-list-type': 'atomic',
    description: 'A program and its arguments, one word each. Not quoted for any shell.',
  }),
});
export type HandoverStep = z.infer<typeof handoverStep>;

/** For the person who takes over an escalated Incident. */
export const handover = z.object({
  summary: z.string().max(4096).meta({ description: 'What is wrong, as far as is known.' }),
  attempts: handoverList('What each attempt did and how it ended.'),
  changes: handoverList('What was changed.'),
  nextSteps: z
    .array(handoverStep)
    .max(MAX_STEPS)
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'What to do next.' }),
});
export type Handover = z.infer<typeof handover>;

/**
 * One message to one receiver. It is recorded before it is sent, so that it is never sent twice.
 */
export const notification = z.object({
  receiver: z.string().max(63).meta({ description: 'Name of the receiver.' }),
  event: z.enum(['Escalated', 'Resolved']).meta({ description: 'What the message reports.' }),
  state: z.enum(['Sending', 'Sent', 'Retrying', 'Failed', 'Indeterminate']).meta({
    description: 'Indeterminate: the message may have arrived, so it is not sent again.',
  }),
  tries: z.number().int().meta({ description: 'Number of attempts to send the message.' }),
  time: time.meta({ description: 'When the state was last changed.' }),
  message: z.string().max(1024).optional().meta({ description: 'Details of the state.' }),
});
export type Notification = z.infer<typeof notification>;

/** One line of the trail in the status, cut to 512 bytes. */
export const tailEntry = z.object({
  seq: z.number().int().meta({ description: 'Sequence number of the entry.' }),
  time: time.meta({ description: 'When the entry was recorded.' }),
  kind: z.string().meta({ description: 'Kind of the entry.' }),
  writer: z
    .string()
    .optional()
    .meta({ description: "Who wrote the entry: gateway, agent or sandbox. Only the gateway's are facts." }),
  tool: z.string().optional().meta({ description: 'Tool of a tool call.' }),
  text: z.string().meta({ description: 'The entry in one line, cut to 512 bytes.' }),
});
export type TailEntry = z.infer<typeof tailEntry>;

export const auditStatus = z.object({
  sessionID: z.string().optional().meta({ description: 'Session of the Incident in the audit log.' }),
  entries: z.number().int().optional().meta({ description: 'Number of entries in the audit log so far.' }),
  headHash: z.string().optional().meta({ description: 'Hash of the last entry, which anchors the hash chain.' }),
  finalHeadHash: z
    .string()
    .optional()
    .meta({ description: 'Hash of the last entry of all. The gateway sets it when it seals the session.' }),
  sealedHeadHash: z
    .string()
    .optional()
    .meta({
      description: 'The final hash as the controller confirmed it. It is set once and cannot be changed or removed.',
      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'sealedHeadHash cannot be changed' }],
    }),
  tail: z
    .array(tailEntry)
    .optional()
    .meta({ 'x-kubernetes-list-type': 'atomic', description: 'The latest 20 entries.' }),
});
export type AuditStatus = z.infer<typeof auditStatus>;

export const incidentStatus = z.object({
  observedGeneration: z
    .number()
    .int()
    .optional()
    .meta({ description: 'The metadata.generation that the status is based on.' }),
  phase: phase.optional().meta({ description: 'Summary for people. No decision depends on it.' }),
  message: z.string().max(4096).optional().meta({ description: 'The state in one sentence, for people.' }),
  conditions: conditionList('The conditions, in the order in which they become true.'),
  startTime: time.optional().meta({ description: 'Start of the first attempt. The time limit counts from then.' }),
  finishTime: time.optional().meta({ description: 'When the Incident finished.' }),
  limits: limits.optional().meta({ description: 'The limits in force.' }),
  attempts: z
    .array(attempt)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['number'],
      description: 'The attempts so far, each with one agent pod.',
    }),
  claim: claim.optional().meta({ description: 'The latest claim of the agent.' }),
  verification: z
    .array(checkResult)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      description: 'The last observation of each check.',
    }),
  soak: z
    .object({
      startTime: time.optional().meta({ description: 'Since when all checks hold. Not set while one of them fails.' }),
      restarts: z.number().int().meta({ description: 'How often the soak started again.' }),
    })
    .optional()
    .meta({ description: 'The soak: all checks must hold for a time without interruption.' }),
  baseline: baseline
    .optional()
    .meta({ description: 'What existed before the first command, and must still exist after the last.' }),
  handover: handover.optional().meta({ description: 'For the person who takes over an escalated Incident.' }),
  notifications: z
    .array(notification)
    .optional()
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['receiver', 'event'],
      description: 'Messages to receivers. Each is recorded before it is sent.',
    }),
  alarm: alarmStatus.optional().meta({ description: 'The state of the alarm behind the Incident.' }),
  changes: recordedChanges.optional().meta({ description: 'Writes that passed the doors of the gateway.' }),
  usage: usage.optional().meta({ description: 'What all attempts together have used.' }),
  audit: auditStatus.optional().meta({ description: 'The audit log of the Incident.' }),
});
export type IncidentStatus = z.infer<typeof incidentStatus>;
