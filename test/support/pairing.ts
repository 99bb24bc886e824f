// Compares what the API server's own audit log says of agents with what the gateway has recorded:
// each write must be in both, and say the same. Pure.

import * as z from 'zod';
import type { Entry } from '../../src/audit/entry.ts';
import { AGENTS_GROUP } from './agents-group.ts';

/** The parts of an event of the API server's audit log (audit.k8s.io/v1) that are compared. */
const auditEvent = z.looseObject({
  auditID: z.string(),
  stage: z.string(),
  requestURI: z.string(),
  verb: z.string(),
  user: z.looseObject({ username: z.string().default(''), groups: z.array(z.string()).default([]) }),
  userAgent: z.string().default(''),
  objectRef: z
    .looseObject({
      resource: z.string().optional(),
      subresource: z.string().optional(),
      namespace: z.string().optional(),
      name: z.string().optional(),
      apiGroup: z.string().optional(),
    })
    .optional(),
  responseStatus: z.looseObject({ code: z.number().optional() }).optional(),
  requestReceivedTimestamp: z.string(),
});
export type AuditEvent = z.infer<typeof auditEvent>;

/** Parses the lines of the API server's audit log. */
export function parseAuditLog(lines: readonly string[]): AuditEvent[] {
  return lines.map((line) => auditEvent.parse(JSON.parse(line)));
}

const intent = z.looseObject({
  auditID: z.string(),
  verb: z.string(),
  group: z.string().optional(),
  resource: z.string().optional(),
  subresource: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string().optional(),
  path: z.string().optional(),
});
const outcome = z.looseObject({ intentSeq: z.number(), status: z.number().nullable() });

export interface Pairing {
  /** How many requests are in both logs and say the same. */
  readonly pairs: number;
  /** Each request that is in one log only, or differs, in words. */
  readonly faults: readonly string[];
}

export interface PairingOptions {
  /** Only requests from then on must be in both. Older ones may have been removed. */
  readonly since?: Date;
  /** Audit-IDs of requests that the test itself sent with the token of an agent, past the gateway. */
  readonly own?: ReadonlySet<string>;
}

/** Questions that change nothing: the gateway forwards them, or asks them, without an entry. */
const REVIEWS = /^self\w+reviews$|^(?:local)?subjectaccessreviews$|^tokenreviews$/;
const REVIEW_GROUPS: ReadonlySet<string> = new Set(['authorization.k8s.io', 'authentication.k8s.io']);
const READS: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

/** Pairs requests by their Audit-ID. */
export function pairRequests(
  events: readonly AuditEvent[],
  entries: readonly Entry[],
  { since = new Date(0), own = new Set() }: PairingOptions = {},
): Pairing {
  const requests = Map.groupBy(
    events.filter(({ user, auditID }) => user.groups.includes(AGENTS_GROUP) && !own.has(auditID)),
    ({ auditID }) => auditID,
  );
  const intents = new Map<string, Recorded>();
  const faults: string[] = [];
  for (const recorded of readIntents(entries)) {
    if (intents.has(recorded.auditID)) faults.push(`two entries have the Audit-ID ${recorded.auditID}`);
    intents.set(recorded.auditID, recorded);
  }
  let pairs = 0;
  for (const [auditID, stages] of requests) {
    const [first] = stages;
    if (first === undefined || isQuestion(first)) continue;
    const recorded = intents.get(auditID);
    const what = `${first.verb} ${first.requestURI} by ${first.user.username}, Audit-ID ${auditID}`;
    if (recorded === undefined) {
      if (!isBefore(first.requestReceivedTimestamp, since)) faults.push(`only the API server has ${what}`);
      continue;
    }
    const differences = compare(stages, recorded);
    if (differences.length === 0) pairs += 1;
    else faults.push(`entry ${recorded.entry.seq} differs from ${what}: ${differences.join(', ')}`);
  }
  for (const { auditID, entry, status, hasOutcome } of intents.values()) {
    if (isBefore(entry.time, since) || requests.has(auditID)) continue;
    const isRead = READS.has(intent.parse(entry.params).verb);
    if (!hasOutcome && !isRead) faults.push(`entry ${entry.seq} (${entry.content}) has no outcome`);
    // Without an answer, it may not have been sent. A 401 is an answer to nobody that is known.
    if (typeof status === 'number' && status !== 401)
      faults.push(`only the gateway has entry ${entry.seq} of ${entry.session}: ${entry.content}: ${status}`);
  }
  return { pairs, faults };
}

interface Recorded {
  readonly auditID: string;
  readonly entry: Entry;
  readonly hasOutcome: boolean;
  readonly status: number | null | undefined;
}

function readIntents(entries: readonly Entry[]): Recorded[] {
  const ofGateway = entries.filter(({ writer }) => writer === 'gateway');
  const outcomes = new Map<string, number | null>(
    ofGateway.flatMap(({ kind, session, params }) => {
      const parsed = kind === 'kube_outcome' ? outcome.safeParse(params).data : undefined;
      return parsed === undefined ? [] : [[`${session} ${parsed.intentSeq}`, parsed.status] as const];
    }),
  );
  return ofGateway.flatMap((entry) => {
    const parsed = entry.kind === 'kube_intent' ? intent.safeParse(entry.params).data : undefined;
    if (parsed === undefined) return [];
    const key = `${entry.session} ${entry.seq}`;
    return [{ auditID: parsed.auditID, entry, hasOutcome: outcomes.has(key), status: outcomes.get(key) }];
  });
}

/** The two logs write times with a different number of digits. */
const isBefore = (time: string, since: Date): boolean => Date.parse(time) < since.getTime();

/** A review whose Audit-ID says that the gateway let it pass, or asked it, without an entry. */
function isQuestion({ auditID, verb, objectRef }: AuditEvent): boolean {
  const { resource = '', apiGroup = '', subresource } = objectRef ?? {};
  return (
    /^oplab-(?:review|gateway)-/.test(auditID) &&
    verb === 'create' &&
    REVIEWS.test(resource) &&
    REVIEW_GROUPS.has(apiGroup) &&
    subresource === undefined
  );
}

function compare(stages: readonly AuditEvent[], { entry, hasOutcome, status }: Recorded): string[] {
  const [event] = stages;
  if (event === undefined) return ['no event'];
  const said = intent.parse(entry.params);
  const { objectRef } = event;
  const differences: string[] = [];
  const same = (field: string, ours: unknown, theirs: unknown) => {
    if (ours !== theirs) differences.push(`${field} ${String(ours)} instead of ${String(theirs)}`);
  };
  if (new Set(stages.map(({ stage }) => stage)).size !== stages.length) differences.push('sent more than once');
  if (said.resource === undefined) {
    same('path', said.path, decodeURIComponent(event.requestURI.split('?')[0] ?? ''));
  } else {
    // The verb of a connection depends on its method.
    if (said.verb !== 'connect') same('verb', said.verb, event.verb);
    same('group', said.group ?? '', objectRef?.apiGroup ?? '');
    same('resource', said.resource, objectRef?.resource);
    same('subresource', said.subresource, objectRef?.subresource);
    // The API server takes the name of an object that is created from its body.
    if (said.name !== undefined) same('name', said.name, objectRef?.name);
    // An object without a namespace, such as a Namespace, has its own name here.
    if (said.namespace !== undefined) same('namespace', said.namespace, objectRef?.namespace);
  }
  if (!hasOutcome && !READS.has(said.verb)) differences.push('no outcome');
  const codes = stages.flatMap(({ responseStatus }) => responseStatus?.code ?? []);
  if (typeof status === 'number' && !codes.includes(status))
    differences.push(`status ${status} instead of ${codes.join(', ') || 'none'}`);
  return differences;
}
