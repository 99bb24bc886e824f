// Builds a plan: the new status, the actions, the events, and when to plan again.

import type { AgentClass } from '../../api/agent-class.ts';
import type { ModelRefusal } from '../../api/agent-report.ts';
import { type Incident, sessionId } from '../../api/incident.ts';
import type { Attempt, AttemptReason, IncidentStatus, Phase } from '../../api/incident-status.ts';
import { isTrue } from '../../api/meta.ts';
import { truncate } from '../../api/truncate.ts';
import type { Observation } from '../../checks/observation.ts';
import type { Note } from '../event.ts';
import type { PodView } from './pod-state.ts';
import type { Blocker } from './queue.ts';
import type { QuotaHold } from './quota.ts';
import {
  type ConditionChange,
  type ControllerStatus,
  ownedStatus,
  sameStatus,
  withCondition,
  withEndedAttempt,
} from './status.ts';

/** An action of a plan. The status is written first, so that it covers every object that exists. */
export type Action =
  | { readonly type: 'add-finalizer' }
  /** Applies everything that the pod of an attempt needs: accounts, policy and role bindings. */
  | { readonly type: 'prepare-attempt'; readonly attempt: number; readonly agentClass: AgentClass }
  /** Observes checks and workloads before the first command. The next plan records the result. */
  | { readonly type: 'observe-baseline'; readonly attempt: number }
  /** Creates the pod unless it exists. The next plan records its UID. */
  | { readonly type: 'create-pod'; readonly attempt: number; readonly agentClass: AgentClass }
  /** Deletes the pod, account, policy and role bindings of one attempt. */
  | { readonly type: 'clean-attempt'; readonly attempt: number }
  /** Deletes everything that was ever made for the Incident. */
  | { readonly type: 'clean-incident' }
  | { readonly type: 'remove-finalizer' };

/** What the actions of a start have learned. After a crash, it is learned again. */
export interface Learned {
  readonly attempt: number;
  /** As it goes into status. */
  readonly firstObservation?: Required<Pick<ControllerStatus, 'verification' | 'baseline'>>;
  readonly podUID?: string;
}

/** What was read in addition to the Incident itself. */
export interface Observed {
  readonly agentClass: AgentClass | undefined;
  /** Syntax errors in the CEL of checks, by check name. */
  readonly syntaxErrors: ReadonlyMap<string, string>;
  /** The namespaces of oplab itself, where no agent may work. */
  readonly ownNamespaces: readonly string[];
  /** The pod of the live attempt, as the API server has it now. */
  readonly pod: PodView | undefined;
  /** The number of pods of ended attempts that may still run. */
  readonly oldPods: number;
  readonly blocker: Blocker | undefined;
  /** The bound of the class's quota that holds the Incident back. */
  readonly quotaHold: QuotaHold | undefined;
  /**
   * The checks as just observed, and when they were observed before; undefined without observation.
   */
  readonly observation:
    | { readonly observations: readonly Observation[]; readonly lastObserved: string | undefined }
    | undefined;
  /** Clean-ups that are done: `attempt-<n>`, `incident`. */
  readonly cleaned: ReadonlySet<string>;
  /** What the start of an attempt has learned, until it is in status. */
  readonly learned: Learned | undefined;
  /** Why the last try to start the attempt failed. */
  readonly startProblem: string | undefined;
}

export interface Plan {
  /** Undefined when the status does not change. */
  readonly status: ControllerStatus | undefined;
  readonly actions: readonly Action[];
  readonly notes: readonly Note[];
  /** Milliseconds until the Incident has to be planned again, if no event comes first. */
  readonly requeueAfterMs: number | undefined;
}

/** Plans again at once: the shortest delay of the queue, in ms. */
export const REQUEUE_NOW = 1;

/** The longest message that the schema of status allows, in characters. */
const MAX_MESSAGE = 4096;

export class PlanBuilder {
  readonly incident: Incident;
  readonly now: Date;
  readonly #before: ControllerStatus;
  readonly #actions: Action[] = [];
  readonly #notes: Note[] = [];
  #status: ControllerStatus;
  #requeueAfterMs: number | undefined;

  constructor(incident: Incident, now: Date) {
    this.incident = incident;
    this.now = now;
    this.#before = ownedStatus(incident.status);
    this.#status = this.#before;
  }

  get status(): ControllerStatus {
    return this.#status;
  }

  get time(): string {
    return this.now.toISOString();
  }

  /** Milliseconds from then until now; negative for a time in the future. */
  since(time: string): number {
    return this.now.getTime() - Date.parse(time);
  }

  change(change: Partial<ControllerStatus>): void {
    const message = change.message === undefined ? {} : { message: truncate(change.message, MAX_MESSAGE) };
    this.#status = { ...this.#status, ...change, ...message };
  }

  condition(change: ConditionChange): void {
    const { generation } = this.incident.metadata;
    this.change({ conditions: withCondition(this.#status.conditions, change, this.time, generation) });
  }

  holds(type: ConditionChange['type']): boolean {
    return isTrue(this.#status.conditions, type);
  }

  /** Reports the progress of the Incident; `reason` is why it is not finished yet. */
  progress(phase: Phase, reason: string, message: string): void {
    this.change({ phase, message });
    this.condition({ type: 'Reconciling', status: 'True', reason, message });
  }

  begin(attempt: Attempt): void {
    const { startTime } = this.#status;
    this.change({
      attempts: [...(this.#status.attempts ?? []), attempt],
      startTime: startTime ?? attempt.startTime,
      soak: { restarts: this.#status.soak?.restarts ?? 0 },
    });
  }

  recordPod(attempt: number, podUID: string): void {
    const attempts = (this.#status.attempts ?? []).map((one) => (one.number === attempt ? { ...one, podUID } : one));
    this.change({ attempts });
  }

  endAttempt(reason: AttemptReason, message: string, refusal?: ModelRefusal): void {
    const last = this.#status.attempts?.at(-1);
    if (last === undefined) return;
    const wasLive = last.endTime === undefined;
    this.change({
      attempts: withEndedAttempt(this.#status.attempts ?? [], { reason, message, refusal, at: this.time }),
    });
    if (!wasLive) return;
    this.condition({ type: 'AgentRunning', status: 'False', reason, message });
    this.note(
      reason === 'Claimed' ? 'Normal' : 'Warning',
      'AttemptEnded',
      `attempt ${last.number}: ${reason}: ${message}`,
    );
    this.addAction({ type: 'clean-attempt', attempt: last.number });
  }

  get session(): string {
    return sessionId(this.incident);
  }

  note(type: Note['type'], reason: string, note: string): void {
    this.#notes.push({ type, reason, note });
  }

  addAction(action: Action): void {
    this.#actions.push(action);
  }

  /** The planned status, with the usage that the gateway has counted. */
  get withUsage(): ControllerStatus & Pick<IncidentStatus, 'usage'> {
    return { ...this.#status, usage: this.incident.status?.usage };
  }

  requeueNow(): void {
    this.requeueAfter(REQUEUE_NOW);
  }

  /** Plans again after this many milliseconds; the earliest request counts. */
  requeueAfter(afterMs: number): void {
    this.#requeueAfterMs = Math.min(
      this.#requeueAfterMs ?? Number.POSITIVE_INFINITY,
      Math.max(REQUEUE_NOW, Math.ceil(afterMs)),
    );
  }

  finish(): Plan {
    const { generation } = this.incident.metadata;
    const changed = !sameStatus(this.#before, this.#status);
    return {
      status: changed
        ? { ...this.#status, ...(generation === undefined ? {} : { observedGeneration: generation }) }
        : undefined,
      actions: this.#actions,
      notes: this.#notes,
      requeueAfterMs: this.#requeueAfterMs,
    };
  }
}
