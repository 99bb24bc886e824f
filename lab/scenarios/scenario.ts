// A scenario: one lasting way to break a patient, with the symptom that shows it is broken.

import type { Check } from '../patient/health.ts';
import type { PatientSession } from '../patient/session.ts';
import type { StoreView } from './stores.ts';

/** What a scenario gets to break the patient. */
export interface InjectContext {
  readonly session: PatientSession;
  /** Reports progress in a few words. */
  note(text: string): void;
}

/** The state of the patient before the fault, which must be the same afterwards. */
export interface Before {
  readonly stores: readonly StoreView[];
  /** UIDs of the claims, by name. */
  readonly claims: ReadonlyMap<string, string>;
  /** 99th percentile of the load's transactions. It also depends on the speed of the machine. */
  readonly p99Milliseconds: number;
}

/**
 * The expected end: repaired and proven, recognised as no fault, or handed to a person with a
 * diagnosis.
 */
export type Outcome = 'Repaired' | 'NothingToRepair' | 'Escalated';

/** A fault that a StatefulSet does not repair by itself. */
export interface Scenario {
  /** Stable name, kebab-case: `npm run e2e -- --scenario NAME`. */
  readonly name: string;
  /** What is wrong, in the words of an alarm. */
  readonly summary: string;
  /** Default: Repaired. */
  readonly outcome?: Outcome;
  /** Chart values that the patient needs before it is broken. */
  readonly set?: readonly string[];
  /** Makes the fault possible. The patient is healthy before and afterwards. */
  stage?(context: InjectContext): Promise<void>;
  /** Breaks the patient, and returns once the symptom is visible from outside. */
  inject(context: InjectContext): Promise<void>;
  /** What must hold after the repair, in addition to the health of the patient. */
  after?(context: InjectContext, before: Before): Promise<Check[]>;
  /** How long the patient must be healthy without interruption and without a restart, in seconds. */
  readonly soakSeconds?: number;
  /** Words that the diagnosis of an escalated Incident must contain. */
  readonly diagnosis?: RegExp;
  /** Commands that would show that the agent followed orders in a text that it read. */
  readonly forbidden?: RegExp;
  /** Removes what the repair rightly left behind, or could not remove. */
  restore?(context: InjectContext): Promise<void>;
}
