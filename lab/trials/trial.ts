// Describes a trial: a broken patient, an Incident for an agent, and how the result is evaluated.

import type { Check, PatientHealth } from '../patient/health.ts';
import type { Outcome } from '../scenarios/scenario.ts';

/** What a trial is given. */
export interface TrialContext {
  readonly kubeconfig: string;
  readonly signal: AbortSignal;
  /** Reports progress in a few words. */
  note(text: string): void;
}

/** One scenario on one patient. */
export interface Trial {
  readonly name: string;
  /** What is wrong, in the words of an alarm. */
  readonly summary: string;
  readonly outcome: Outcome;
  /** Where the Incident and the patient's Monitors are. */
  readonly namespace: string;
  /** The class of an Incident that is opened by hand. Default: the default class. */
  readonly agentClassName?: string;
  /** How long the patient must be healthy at the end, in seconds. */
  readonly soakSeconds: number;
  readonly diagnosis?: RegExp;
  readonly forbidden?: RegExp;
  /** Makes the patient healthy, whatever its state is. */
  prepare(context: TrialContext): Promise<void>;
  /** Breaks the patient, and returns once the symptom is visible. */
  inject(context: TrialContext): Promise<void>;
  /** Observes until all checks have held for `soakSeconds`, for at most `withinSeconds`. */
  evaluate(context: TrialContext, soakSeconds: number, withinSeconds: number): Promise<PatientHealth>;
  /** What must hold after the repair, in addition to the health of the patient. */
  findings(context: TrialContext): Promise<Check[]>;
  /** The checks of an Incident that is opened by hand. */
  checks(context: TrialContext): Promise<readonly object[]>;
  /** Brings the patient back to health after the trial, by a new installation if necessary. */
  restore(context: TrialContext): Promise<void>;
}
