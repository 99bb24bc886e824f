// What passes between the agent and the gateway's own door, besides the Messages API: task, start, entries, live output, claim.
//
// All of it is HTTPS with the pod's projected token (audience oplab-agent) as bearer. Errors are
// {"error": {"code": "OPLAB_…", "message": "…"}}: 401 who are you, 403 no lease (final), 409 conflict or not yet a lease
// (retry), 429 limit reached (final), 503 the gateway cannot serve now (retry).

import { z } from 'zod';
import { claimOutcome, severity } from '../api/incident.ts';
import { limits } from '../api/limits.ts';

export const paths = {
  task: '/agent/v1/task',
  start: '/agent/v1/start',
  conclude: '/agent/v1/conclude',
  entries: '/audit/v1/entries',
  live: '/audit/v1/live',
  messages: '/v1/messages',
} as const;

/** GET task: everything that the agent is told about its Incident. */
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
  /** What must hold afterwards, as the author wrote it. */
  checks: z.array(z.object({ name: z.string(), text: z.string() })),
  /** Facts from the targets' oplab-runbook ConfigMaps. */
  runbooks: z.array(z.object({ namespace: z.string(), text: z.string() })),
  mode: z.enum(['Repair', 'Diagnose']),
  model: z.object({ name: z.string(), summaryName: z.string(), maxOutputTokens: z.number().int() }),
  promptAdditions: z.string().optional(),
  /** The part of a Docker host that `docker` in the shell reaches, in words; absent where the class opens none. */
  docker: z.string().optional(),
  limits,
  /** Turns that are left for this Incident, all attempts together. */
  turnsLeft: z.number().int(),
  /** RFC 3339; after it the lease is dead. */
  deadline: z.string(),
  /** Earlier attempts: what they claimed and what the checks then saw. */
  previousAttempts: z.array(z.object({ number: z.number().int(), reason: z.string(), message: z.string() })),
});
export type Task = z.infer<typeof task>;

/** POST start: recorded once per attempt. `alreadyStarted` means that an earlier run of this container was cut off. */
export const startResult = z.object({ alreadyStarted: z.boolean() });

/** POST live: a chunk of output while a command runs. Passed on to watchers, redacted, never stored; loss is harmless. */
export const liveChunk = z.object({
  callKey: z.string().max(128),
  stream: z.enum(['stdout', 'stderr']),
  text: z.string().max(65536),
});
export type LiveChunk = z.infer<typeof liveChunk>;

/** POST conclude: the claim. The gateway writes it to status; the lease lives on until the controller ends the attempt. */
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
  /** read API, loopback of the gateway's pod only */
  read: 8080,
  /** health and metrics */
  health: 9090,
} as const;
