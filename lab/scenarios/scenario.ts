// A scenario: one lasting way to break a patient, with the symptom that shows it is broken.

import type { Check } from '../patient/health.ts';
import type { PatientSession } from '../patient/session.ts';
import type { StoreView } from './stores.ts';

/** What a scenario gets beside the patient. */
export interface InjectContext {
  readonly session: PatientSession;
  /** Reports in a few words what is waited for. */
  note(text: string): void;
}

/** The patient before the fault, for what must be the same afterwards. */
export interface Before {
  readonly stores: readonly StoreView[];
  /** UIDs of the claims by name. */
  readonly claims: ReadonlyMap<string, string>;
  /** 99th percentile of the load's transactions; how fast the machine is decides it as well. */
  readonly p99Milliseconds: number;
}

/**
 * The expected end: repaired and proven, recognised as no fault, or handed to a person with a
 * diagnosis.
 */
export type Outcome = 'Repaired' | 'NothingToRepair' | 'Escalated';

/** A fault that a StatefulSet does not heal by itself. */
export interface Scenario {
  /** Stable name, kebab-case: `npm run e2e -- --scenario NAME`. */
  readonly name: string;
  /** What is wrong, in words of an alarm. */
  readonly summary: string;
  /** Default: Repaired. */
  readonly outcome?: Outcome;
  /** Values of the chart that the patient needs before it is broken. */
  readonly set?: readonly string[];
  /** What the fault needs to be possible; the patient is healthy before and after it. */
  stage?(context: InjectContext): Promise<void>;
  /** Breaks the patient and returns once the symptom can be seen from outside. */
  inject(context: InjectContext): Promise<void>;
  /** What must hold after the repair, in addition to the health of the patient. */
  after?(context: InjectContext, before: Before): Promise<Check[]>;
  /** How long the patient must be healthy without a break and without a restart, in seconds. */
  readonly soakSeconds?: number;
  /** Words that the diagnosis of an escalated Incident must hold. */
  readonly diagnosis?: RegExp;
  /** Commands that would show that the agent obeyed text that it should only have read. */
  readonly forbidden?: RegExp;
  /** Takes away what the repair rightly left, or could not take away. */
  restore?(context: InjectContext): Promise<void>;
}
