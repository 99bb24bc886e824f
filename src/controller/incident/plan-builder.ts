// A plan in the making: the status as it shall be, what is to be done, what people are told, when to look again.

import type { AgentClass } from '../../api/agent-class.ts';
import { type Attempt, type AttemptReason, type Incident, type Phase, sessionOf } from '../../api/incident.ts';
import { isTrue } from '../../api/meta.ts';
import type { Observation } from '../../checks/observation.ts';
import type { PodView } from './pod-state.ts';
import type { Blocker } from './queue.ts';
import {
  type ConditionChange,
  type ControllerStatus,
  ownedStatus,
  sameStatus,
  withCondition,
  withEndedAttempt,
} from './status.ts';

/** What is done besides writing the status; the status is written first, so that nothing exists that it does not know of. */
export type Action =
  | { readonly type: 'add-finalizer' }
  /** Everything around the pod, the baseline, the pod, and its UID in status: each only if it is not there yet. */
  | { readonly type: 'start-attempt'; readonly attempt: number; readonly agentClass: AgentClass }
  /** Pod, account, policy and rights of one attempt. */
  | { readonly type: 'clean-attempt'; readonly attempt: number }
  /** Whatever was ever made for the Incident. */
  | { readonly type: 'clean-incident' }
  | { readonly type: 'remove-finalizer' };

/** An event on the Incident. */
export interface Note {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}

/** What was read besides the Incident itself. */
export interface Observed {
  readonly agentClass: AgentClass | undefined;
  /** What is wrong with the CEL of checks, by name. */
  readonly syntaxErrors: ReadonlyMap<string, string>;
  /** Where oplab itself runs, and no agent may work. */
  readonly ownNamespaces: readonly string[];
  /** The pod of the last attempt, as the API server has it now. */
  readonly pod: PodView | undefined;
  /** Pods of ended attempts that may still run. */
  readonly oldPods: number;
  readonly blocker: Blocker | undefined;
  /** A look at all checks, and when the one before it was; undefined when nobody looked just now. */
  readonly look: { readonly observations: readonly Observation[]; readonly lastLook: string | undefined } | undefined;
  /** Clean-ups that were carried out already: `attempt-<n>`, `incident`. */
  readonly cleaned: ReadonlySet<string>;
  /** Why the last try to start the attempt failed. */
  readonly startProblem: string | undefined;
}

export interface Plan {
  /** Undefined when the status stays as it is. */
  readonly status: ControllerStatus | undefined;
  readonly actions: readonly Action[];
  readonly notes: readonly Note[];
  /** Milliseconds until somebody has to look again, if nothing happens before. */
  readonly requeueAfterMs: number | undefined;
}

/** What the schema of status lets a message be, in characters. */
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

  /** Milliseconds from then until now; negative for a time to come. */
  since(time: string): number {
    return this.now.getTime() - Date.parse(time);
  }

  change(change: Partial<ControllerStatus>): void {
    const message = change.message === undefined ? {} : { message: change.message.slice(0, MAX_MESSAGE) };
    this.#status = { ...this.#status, ...change, ...message };
  }

  condition(change: ConditionChange): void {
    const { generation } = this.incident.metadata;
    this.change({ conditions: withCondition(this.#status.conditions, change, this.time, generation) });
  }

  holds(type: ConditionChange['type']): boolean {
    return isTrue(this.#status.conditions, type);
  }

  /** Where the Incident stands, for people; `reason` says why it is not finished. */
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

  endAttempt(reason: AttemptReason, message: string): void {
    const last = this.#status.attempts?.at(-1);
    if (last === undefined) return;
    const wasLive = last.endTime === undefined;
    this.change({ attempts: withEndedAttempt(this.#status.attempts ?? [], { reason, message, at: this.time }) });
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
    return sessionOf(this.incident);
  }

  note(type: Note['type'], reason: string, note: string): void {
    this.#notes.push({ type, reason, note });
  }

  addAction(action: Action): void {
    this.#actions.push(action);
  }

  /** Look again after this long; the earliest wish counts. */
  requeueAfter(afterMs: number): void {
    this.#requeueAfterMs = Math.min(this.#requeueAfterMs ?? Number.POSITIVE_INFINITY, Math.max(1, Math.ceil(afterMs)));
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
