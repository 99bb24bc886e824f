// What a scenario is: one way to break a patient for good, with the symptom that shows that it is broken.
import type { PatientSession } from '../session.ts';

/** What a scenario gets beside the patient. */
export interface InjectContext {
  readonly session: PatientSession;
  /** Says in a few words what is waited for. */
  note(text: string): void;
}

/** A fault that a StatefulSet does not heal by itself. */
export interface Scenario {
  /** Stable name, kebab-case: `npm run e2e -- --scenario NAME`. */
  readonly name: string;
  /** What is wrong, in words of an alarm. */
  readonly summary: string;
  /** Breaks the patient and returns once the symptom can be seen from outside. */
  inject(context: InjectContext): Promise<void>;
}
