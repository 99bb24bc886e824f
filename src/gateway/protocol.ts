// The protocol between the agent and the gateway, except for the Messages API: task, start,
// conversation, entries, live output and claim.
//
// Requests use HTTPS with the pod's projected token (audience oplab-agent) as bearer token. Errors
// are {"error": {"code": "OPLAB_…", "message": "…"}}: 401 unauthenticated, 403 no lease (final),
// 409 conflict or no lease yet (retry), 429 limit reached (final), 503 the gateway cannot serve now
// (retry).

import * as z from 'zod';
import { severity } from '../api/incident.ts';
import { claimOutcome } from '../api/incident-status.ts';
import { limits } from '../api/limits.ts';
import { modelOptions } from '../api/model-options.ts';

/** Of an answer at the model door: the percentage of the scarcest limit that is left, and its name. */
export const BUDGET_LEFT_HEADER = 'oplab-budget-left';

export const paths = {
  task: '/agent/v1/task',
  start: '/agent/v1/start',
  conversation: '/agent/v1/conversation',
  conclude: '/agent/v1/conclude',
  entries: '/audit/v1/entries',
  live: '/audit/v1/live',
  commandEnded: '/audit/v1/command-ended',
  messages: '/v1/messages',
} as const;

/** GET task: everything that the agent knows about its Incident. */
export const task = z.object({
  session: z.string(),
  attempt: z.number().int(),
  incident: z.object({
    namespace: z.string(),
    name: z.string(),
    summary: z.string(),
    description: z.string().optional(),
    severity,
    alertLabels: z.record(z.string(), z.string()).optional(),
    alertAnnotations: z.record(z.string(), z.string()).optional(),
  }),
  targetNamespaces: z.array(z.string()),
  /** The checks that must pass afterwards, as written in the Incident, and what they saw last. */
  checks: z.array(
    z.object({
      name: z.string(),
      text: z.string(),
      passing: z.boolean().optional(),
      /** What was observed, or why nothing could be. */
      observed: z.string().optional(),
      observedTime: z.string().optional(),
    }),
  ),
  /** How long all of them must pass without interruption, in seconds. */
  soakSeconds: z.number().int(),
  /** Notes from the targets' oplab-runbook ConfigMaps, and the client that last wrote each. */
  runbooks: z.array(
    z.object({ namespace: z.string(), text: z.string(), writer: z.string(), writeTime: z.string().nullable() }),
  ),
  mode: z.enum(['Repair', 'Diagnose']),
  model: z.object({
    name: z.string(),
    summaryName: z.string(),
    maxOutputTokens: z.number().int(),
    ...modelOptions.shape,
  }),
  promptAdditions: z.string().optional(),
  /**
   * Description of the part of a Docker host that the shell can use; absent if the class allows
   * none.
   */
  docker: z.string().optional(),
  limits,
  /** Remaining turns of this Incident, over all attempts. */
  turnsLeft: z.number().int(),
  /** The time when the lease ends, RFC 3339. */
  deadline: z.string(),
  /** The gateway's time when it answered, RFC 3339: the agent's clock may differ. */
  now: z.string(),
  /** Earlier attempts: how they ended, what they claimed, ran and wrote, as the gateway recorded it. */
  previousAttempts: z.array(
    z.object({
      number: z.number().int(),
      reason: z.string(),
      message: z.string(),
      claim: z.string().optional(),
      writes: z.array(z.string()),
      /** Its last commands, each with what came of it in short. */
      commands: z.array(z.string()).default([]),
    }),
  ),
});
export type Task = z.infer<typeof task>;

/** POST start: recorded once for each process of the agent. */
export const startRequest = z.object({
  /** Names this process, so that a start whose answer was lost can be repeated. */
  run: z.string().min(1).max(64),
  /** How often the agent was started again in its container, as far as it knows. */
  restarts: z.number().int().min(0).max(1_000_000).optional(),
});
export const startResult = z.object({
  /** An earlier process of this attempt was cut off. */
  alreadyStarted: z.boolean(),
  /** How often the agent was started again. */
  restarts: z.number().int().default(0),
  /** The number of the attempt's next entry: those before are on record. */
  nextKey: z.number().int().min(1).default(1),
  /** Why this agent is not to go on: it dies at the same place again and again. */
  givenUp: z.string().optional(),
});
export type StartResult = z.infer<typeof startResult>;

/**
 * The query of GET and POST conversation. The body of POST is one record, which the gateway keeps as
 * it is until the attempt ends; the answer of GET has all of them, one a line.
 */
export const conversationQuery = z.object({
  /** The same as in POST start. An earlier process is refused. */
  run: z.string().min(1).max(64),
  /** The position of the record, from 0. */
  index: z.coerce.number().int().min(0).default(0),
  /** The record replaces all others, and its index is 0. */
  whole: z.enum(['true', 'false']).default('false'),
});

/**
 * POST live: a chunk of output of a running command. Redacted and passed to watchers, never stored.
 */
export const liveChunk = z.object({
  callKey: z.string().max(128),
  stream: z.enum(['stdout', 'stderr']),
  text: z.string().max(65536),
});
export type LiveChunk = z.infer<typeof liveChunk>;

/**
 * POST command-ended: all processes of a command have ended. Sent before its output is
 * recorded, so that no write counts as the command's any more.
 */
export const commandEnded = z.object({ callKey: z.string().max(128) });

/**
 * POST conclude: the claim. The gateway writes it to the status. The lease lives until the
 * controller ends the attempt.
 */
export const conclusion = z.object({
  outcome: claimOutcome,
  summary: z.string().max(4096),
  rootCause: z.string().max(4096).default(''),
  actions: z.array(z.string().max(1024)).max(32).default([]),
});
export type Conclusion = z.infer<typeof conclusion>;

/** The gateway's ports. */
export const ports = {
  /** audit and model doors, TLS */
  agent: 8443,
  /** the kube door, TLS */
  kube: 6443,
  /** the docker door, TLS */
  docker: 2376,
  /** the canary host, TCP without an answer */
  canary: 8200,
  /** read API, only on the loopback interface of the gateway's pod */
  read: 8080,
  /** health and metrics */
  health: 9090,
} as const;

/** The admin API's Unix socket in the gateway's container. */
export const ADMIN_SOCKET = '/tmp/oplab-admin.sock';
/** The ConfigMap in the operator's namespace that holds what the gateway signed last. */
export const auditAnchor = {
  name: 'oplab-audit-anchor',
  /** The keys of its data. The gateway writes all but the last. */
  keys: { checkpoint: 'checkpoint', heads: 'heads', publicKey: 'public-key', accept: 'accept' },
} as const;
