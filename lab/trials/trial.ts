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
  /** What is wrong, in words of an alarm. */
  readonly summary: string;
  readonly outcome: Outcome;
  /** Where the Incident and the patient's Monitors are. */
  readonly namespace: string;
  /** Of an Incident that is written by hand; default: the default class. */
  readonly agentClassName?: string;
  /** How long the patient must be healthy at the end, in seconds. */
  readonly soakSeconds: number;
  readonly diagnosis?: RegExp;
  readonly forbidden?: RegExp;
  /** Makes the patient healthy, whatever was before. */
  prepare(context: TrialContext): Promise<void>;
  /** Breaks it; returns once the symptom can be seen. */
  inject(context: TrialContext): Promise<void>;
  /** Observes until all has held for `soakSeconds`, at most `withinSeconds`. */
  evaluate(context: TrialContext, soakSeconds: number, withinSeconds: number): Promise<PatientHealth>;
  /** What must hold after the repair, in addition to the health of the patient. */
  findings(context: TrialContext): Promise<Check[]>;
  /** The checks of an Incident that is written by hand. */
  checks(context: TrialContext): Promise<readonly object[]>;
  /** Brings the patient back to health after the trial, by new installation if need be. */
  restore(context: TrialContext): Promise<void>;
}
