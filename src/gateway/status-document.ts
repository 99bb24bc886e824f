// The gateway's part of an Incident's status as one document. It must be complete, because
// server-side apply removes fields that their manager omits.

import { API_VERSION } from '../api/group.ts';
import { CONDITIONS, type Incident } from '../api/incident.ts';
import type { Claim, RecordedChanges, Usage } from '../api/incident-status.ts';
import { type Condition, findCondition } from '../api/meta.ts';
import type { Entry } from '../audit/entry.ts';
import { statusTail } from '../audit/excerpt.ts';
import type { Head } from '../audit/log.ts';
import type { LogFailure } from '../audit/store-protocol.ts';
import type { NewKubeObject } from '../kube/client.ts';
import { currentAttempt } from './leases.ts';

/** The reason of AuditIntact, and of the event, when the log contradicts the status. */
export const AUDIT_BROKEN = 'AuditBroken';

/** The gateway's data for a status write. */
export interface StatusParts {
  readonly head: Head | undefined;
  /** The last entries of the session, oldest first. */
  readonly tail: readonly Entry[];
  readonly usage: Usage;
  readonly changes: RecordedChanges;
  readonly claim: Claim | undefined;
  readonly repairClaimed: Condition | undefined;
}

/** All fields that the field manager oplab-gateway owns in the given Incident. */
export function statusDocument(incident: Incident, parts: StatusParts, resourceVersion?: string): NewKubeObject {
  const { head, tail, usage, changes, claim, repairClaimed } = parts;
  const { name, namespace, uid } = incident.metadata;
  return {
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      // A precondition: an Incident recreated with the same name is a different one.
      uid,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    status: {
      ...(repairClaimed === undefined ? {} : { conditions: [repairClaimed] }),
      ...(claim === undefined ? {} : { claim }),
      usage,
      changes,
      audit: {
        sessionID: uid,
        ...(head === undefined
          ? {}
          : {
              entries: head.entries,
              headHash: head.headHash,
              tail: statusTail(tail),
              ...(head.sealed ? { finalHeadHash: head.headHash } : {}),
            }),
      },
    },
  };
}

/** Why the gateway cannot record work of an Incident. */
export interface AuditTrouble {
  /** Why the log contradicts the status. */
  readonly broken: string | undefined;
  /** Why the log accepts no new work. */
  readonly failure: Pick<LogFailure, 'message' | 'isFull'> | undefined;
}

/** The reasons of AuditWritable. */
export const AUDIT_LOG_FULL = 'AuditLogFull';
export const AUDIT_LOG_FAILED = 'AuditLogFailed';

/**
 * The part of the field manager oplab-audit-guard: a condition for each trouble, otherwise nothing.
 * Everything else in the status keeps its value.
 */
export function auditGuardDocument(incident: Incident, { broken, failure }: AuditTrouble, now: string): NewKubeObject {
  const { name, namespace, uid, generation } = incident.metadata;
  const falseCondition = (type: string, reason: string, message: string): Condition => {
    const seen = findCondition(incident.status?.conditions, type);
    return {
      type,
      status: 'False',
      reason,
      message,
      lastTransitionTime: seen?.status === 'False' ? seen.lastTransitionTime : now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    };
  };
  const conditions = [
    ...(broken === undefined ? [] : [falseCondition(CONDITIONS.AuditIntact, AUDIT_BROKEN, broken)]),
    ...(failure === undefined
      ? []
      : [
          falseCondition(
            CONDITIONS.AuditWritable,
            failure.isFull ? AUDIT_LOG_FULL : AUDIT_LOG_FAILED,
            `no new work can be recorded, so nothing runs: ${failure.message}`,
          ),
        ]),
  ];
  return {
    apiVersion: API_VERSION,
    kind: 'Incident',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), uid },
    status: conditions.length === 0 ? {} : { conditions },
  };
}

/** The RepairClaimed condition for a claim that was just accepted. */
export function claimedCondition(claim: Claim, generation: number | undefined): Condition {
  return {
    type: CONDITIONS.RepairClaimed,
    // True means that the agent has concluded, and the reason is its outcome. The checks verify it.
    status: 'True',
    reason: claim.outcome,
    message: claim.summary,
    lastTransitionTime: claim.time,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
}

/**
 * The current claim and RepairClaimed condition. The claim of an earlier attempt no longer counts
 * once the next attempt has started.
 * @param known the condition as last written by this process; the watch may lag behind it
 */
export function repairClaimedNow(
  incident: Incident,
  known: { claim: Claim; condition: Condition } | undefined,
): { claim: Claim | undefined; condition: Condition | undefined } {
  const claim = known?.claim ?? incident.status?.claim;
  const condition = known?.condition ?? findCondition(incident.status?.conditions, CONDITIONS.RepairClaimed);
  const current = currentAttempt(incident);
  if (claim === undefined || condition === undefined || condition.status !== 'True') return { claim, condition };
  if (current === undefined || current.number <= claim.attempt) return { claim, condition };
  return {
    claim,
    condition: {
      ...condition,
      status: 'False',
      reason: 'AttemptStarted',
      message: `attempt ${claim.attempt} claimed ${claim.outcome}, but the checks did not confirm it; attempt ${current.number} has started`,
      lastTransitionTime: current.startTime,
    },
  };
}
