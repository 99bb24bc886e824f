// The gateway's part of an Incident's status as one document. It must be complete, because
// server-side apply removes fields that their manager omits.

import { API_VERSION } from '../api/group.ts';
import { CONDITIONS, type Incident } from '../api/incident.ts';
import type { Claim, RecordedChanges, Usage } from '../api/incident-status.ts';
import { type Condition, findCondition } from '../api/meta.ts';
import { truncate } from '../api/truncate.ts';
import type { Entry } from '../audit/entry.ts';
import { statusTail } from '../audit/excerpt.ts';
import type { Head } from '../audit/log.ts';
import type { LogFailure } from '../audit/store-protocol.ts';
import type { NewKubeObject } from '../kube/client.ts';
import { currentAttempt } from './leases.ts';
import type { UnexplainedWrite } from './running-commands.ts';

/** The reason of AuditIntact, and of the event, when the log contradicts the status. */
export const AUDIT_BROKEN = 'AuditBroken';
/** The reason of WritesExplained, and of the event, when a write has no command. */
export const UNEXPLAINED_WRITE = 'UnexplainedWrite';

/** The gateway's data for a status write. */
export interface StatusParts {
  readonly head: Head | undefined;
  /** The last entries of the session, oldest first. */
  readonly tail: readonly Entry[];
  readonly usage: Usage;
  readonly changes: RecordedChanges;
  readonly claim: Claim | undefined;
  readonly repairClaimed: Condition | undefined;
  /** The first write that no command explains. */
  readonly unexplained: UnexplainedWrite | undefined;
  /** Set once a tripwire was touched. */
  readonly tripwires: Condition | undefined;
  /** Set while the agent waits for its model. */
  readonly modelTrouble: Condition | undefined;
}

/** All fields that the field manager oplab-gateway owns in the given Incident. */
export function statusDocument(incident: Incident, parts: StatusParts, resourceVersion?: string): NewKubeObject {
  const { head, tail, usage, changes, claim, repairClaimed, unexplained, tripwires, modelTrouble } = parts;
  const { name, namespace, uid, generation } = incident.metadata;
  const conditions = [
    repairClaimed,
    unexplained === undefined ? undefined : unexplainedCondition(unexplained, generation),
    tripwires,
    modelTrouble,
  ].filter((one) => one !== undefined);
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
      ...(conditions.length === 0 ? {} : { conditions }),
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

/** The condition of an Incident in which a write has no command. */
function unexplainedCondition(write: UnexplainedWrite, generation: number | undefined): Condition {
  return {
    type: CONDITIONS.WritesExplained,
    status: 'False',
    reason: UNEXPLAINED_WRITE,
    message: describeUnexplained(write),
    lastTransitionTime: write.time,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
  };
}

/** What was seen, for the condition, the event, and the refusal of later requests. */
export function describeUnexplained({ attempt, seq, time, text }: UnexplainedWrite): string {
  return (
    `at ${time}, attempt ${attempt} sent a request while none of its commands was running (entry ${seq}): ` +
    `${truncate(text, 512)}. The gateway refused it and ended the lease. ` +
    'A process in the sandbox acts without a recorded command, so do not trust what the sandbox reported.'
  );
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
