// The controller's part of an Incident's status, without the fields that the gateway owns. Pure.

import type { ModelRefusal } from '../../api/agent-report.ts';
import { CONDITIONS, type Incident } from '../../api/incident.ts';
import type { Attempt, AttemptReason, IncidentStatus, Phase } from '../../api/incident-status.ts';
import { type Condition, findCondition, setCondition } from '../../api/meta.ts';
import { truncate } from '../../api/truncate.ts';

/** The fields that the controller writes by server-side apply. Leaving a field out removes it. */
export type ControllerStatus = Omit<
  IncidentStatus,
  'claim' | 'usage' | 'audit' | 'changes' | 'alarm' | 'notifications'
> & {
  audit?: { sealedHeadHash: string };
};

/** Why an Incident ended: the reason of Succeeded, and of Finished as long as that is False. */
export type EndReason =
  | 'Verified'
  | 'NothingToRepair'
  | 'HealthyButChanged'
  | 'AlarmCleared'
  | 'AgentEscalated'
  | 'AttemptsExhausted'
  | 'LimitReached'
  | 'ModelFailed'
  | Breach['reason']
  | 'DayLimitReached'
  | 'Cancelled'
  | 'NamespaceNotAllowed'
  | 'InvalidCheck'
  | 'SoakTooLong';

export type FinalPhase = Extract<Phase, 'Resolved' | 'Escalated' | 'Failed' | 'Cancelled'>;
const FINAL_PHASES: readonly FinalPhase[] = ['Resolved', 'Escalated', 'Failed', 'Cancelled'];

/** The reason of AuditSealed while the gateway is asked to seal; the message is the final phase. */
export const SEAL_REQUESTED = 'SealRequested';

/** Who writes each condition. What the gateway writes, the controller must not own as well. */
const WRITERS: Readonly<Record<keyof typeof CONDITIONS, 'controller' | 'gateway'>> = {
  Accepted: 'controller',
  AgentRunning: 'controller',
  RepairClaimed: 'gateway',
  Verified: 'controller',
  AuditSealed: 'controller',
  AuditIntact: 'gateway',
  WritesExplained: 'gateway',
  TripwiresIntact: 'gateway',
  AuditWritable: 'gateway',
  ModelAnswers: 'gateway',
  Finished: 'controller',
  Succeeded: 'controller',
  Reconciling: 'controller',
  Stalled: 'controller',
};
const GATEWAY_CONDITIONS = Object.entries(WRITERS).flatMap(([type, writer]) => (writer === 'gateway' ? [type] : []));

/**
 * Why the gateway has ended the lease for good: the Incident ends, and cannot have succeeded,
 * whatever its agent claims.
 */
export interface Breach {
  readonly reason: 'AuditBroken' | 'UnexplainedWrite' | 'TripwireTouched';
  readonly message: string;
}

/** What the gateway found, from its conditions; undefined if nothing. */
export function findBreach(status: Pick<IncidentStatus, 'conditions'> | undefined): Breach | undefined {
  const intact = findCondition(status?.conditions, CONDITIONS.AuditIntact);
  if (intact?.status === 'False') return { reason: 'AuditBroken', message: intact.message };
  const explained = findCondition(status?.conditions, CONDITIONS.WritesExplained);
  if (explained?.status === 'False') return { reason: 'UnexplainedWrite', message: explained.message };
  const untouched = findCondition(status?.conditions, CONDITIONS.TripwiresIntact);
  if (untouched?.status === 'False') return { reason: 'TripwireTouched', message: untouched.message };
  return undefined;
}

/** The controller's part of a status as it was read. */
export function ownedStatus(status: IncidentStatus | undefined): ControllerStatus {
  const {
    claim: _claim,
    usage: _usage,
    changes: _changes,
    alarm: _alarm,
    notifications: _notifications,
    audit,
    ...rest
  } = status ?? {};
  const conditions = rest.conditions?.filter(({ type }) => !GATEWAY_CONDITIONS.includes(type));
  return {
    ...rest,
    ...(conditions === undefined ? {} : { conditions }),
    ...(audit?.sealedHeadHash === undefined ? {} : { audit: { sealedHeadHash: audit.sealedHeadHash } }),
  };
}

export interface ConditionChange {
  readonly type: keyof typeof CONDITIONS;
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message?: string;
}

/** Sets one condition; its `lastTransitionTime` changes only when its status does. */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  change: ConditionChange,
  now: string,
  generation: number | undefined,
): Condition[] {
  return setCondition(conditions, change, { now, generation, order: Object.values(CONDITIONS) });
}

/** Ends the last attempt. */
export function withEndedAttempt(
  attempts: readonly Attempt[],
  end: {
    readonly reason: AttemptReason;
    readonly message: string;
    readonly at: string;
    readonly refusal?: ModelRefusal | undefined;
  },
): Attempt[] {
  const { reason, message, at, refusal } = end;
  return attempts.map((attempt, index) =>
    index === attempts.length - 1
      ? {
          ...{ ...attempt, endTime: attempt.endTime ?? at, reason, message: truncate(message, 4096) },
          ...(refusal === undefined ? {} : { refusal }),
        }
      : attempt,
  );
}

/** The attempt that is starting or running; undefined between attempts. */
export function liveAttempt(status: Pick<IncidentStatus, 'attempts'> | undefined): Attempt | undefined {
  const last = status?.attempts?.at(-1);
  return last !== undefined && last.endTime === undefined ? last : undefined;
}

/** The claim of the given attempt, if its agent has made one. */
export function findClaim(incident: Incident, attempt: Attempt | undefined) {
  const claim = incident.status?.claim;
  return attempt !== undefined && claim?.attempt === attempt.number ? claim : undefined;
}

/** The decided end that is waiting for the seal; undefined if none is. */
export function decidedEnd(
  status: Pick<IncidentStatus, 'conditions'> | undefined,
):
  | { readonly phase: FinalPhase; readonly reason: string; readonly message: string; readonly since: string }
  | undefined {
  const sealed = findCondition(status?.conditions, CONDITIONS.AuditSealed);
  const finished = findCondition(status?.conditions, CONDITIONS.Finished);
  if (sealed?.reason !== SEAL_REQUESTED || finished === undefined) return undefined;
  const phase = FINAL_PHASES.find((candidate) => candidate === sealed.message);
  if (phase === undefined) return undefined;
  return { phase, reason: finished.reason, message: finished.message, since: sealed.lastTransitionTime };
}

/** Whether two statuses are equal, regardless of the order of their fields. */
export function sameStatus(a: ControllerStatus, b: ControllerStatus): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
