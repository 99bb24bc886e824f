// The steps of a reconciliation, between which the controller may be killed at any time.

import type { Incident } from '../../api/incident.ts';

/** In order. */
export const STEPS = [
  'finalizer-added',
  'status-written',
  'account-made',
  'surroundings-made',
  'baseline-observed',
  'baseline-recorded',
  'pod-made',
  'pod-recorded',
  'attempt-cleaned',
  'incident-cleaned',
  'finalizer-removed',
] as const;
export type Step = (typeof STEPS)[number];

/** Called after each step. Where a crash test kills the controller, it never resolves. */
export type Checkpoint = (step: Step, incident: Incident) => Promise<void>;
