// Incidents and observations for tests of the plan.

import type { AgentClass } from '../../src/api/agent-class.ts';
import { agentClassSpec } from '../../src/api/agent-class.ts';
import { FINALIZER } from '../../src/api/group.ts';
import { CONDITIONS, type Incident } from '../../src/api/incident.ts';
import type { Attempt, ClaimOutcome } from '../../src/api/incident-status.ts';
import { findCondition } from '../../src/api/meta.ts';
import type { Observation } from '../../src/checks/observation.ts';
import type { Observed, Plan } from '../../src/controller/incident/plan-builder.ts';
import { anIncident } from './an-incident.ts';

export const START = Date.UTC(2026, 0, 1);
/** The time this many seconds after the start of the tests' clock. */
export const at = (second: number): Date => new Date(START + second * 1000);
export const iso = (second: number): string => at(second).toISOString();

export const LIMITS = { timeoutSeconds: 900, maxTurns: 60, maxTokens: 2_000_000, maxCostMilliUSD: 2000, attempts: 2 };

export const agentClass: AgentClass = {
  apiVersion: 'oplab.dev/v1alpha1',
  kind: 'AgentClass',
  metadata: { name: 'default', uid: 'class', generation: 3 },
  spec: agentClassSpec.parse({ images: { agent: 'a', sandbox: 's' } }),
};

export function incident(parts: { spec?: object; status?: object; metadata?: object } = {}): Incident {
  return anIncident({
    metadata: {
      name: 'broken',
      namespace: 'tikv',
      uid: '0a1b2c3d-4444-5555-6666-777788889999',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: iso(0),
      finalizers: [FINALIZER],
      ...parts.metadata,
    },
    spec: {
      summary: 's',
      verify: {
        soakSeconds: 10,
        checks: [{ name: 'c', kubernetes: { apiVersion: 'v1', kind: 'ConfigMap', name: 'x', cel: 'true' } }],
      },
      ...parts.spec,
    },
    ...(parts.status === undefined ? {} : { status: parts.status }),
  });
}

export function attempt(number: number, parts: Partial<Attempt> = {}): Attempt {
  return {
    number,
    sessionID: 'session',
    podName: `broken-0a1b2c3d-${number}`,
    serviceAccountName: `broken-0a1b2c3d-${number}`,
    class: { name: 'default', generation: 3, mode: 'Repair', model: 'm', summaryModel: 's', maxOutputTokens: 1000 },
    startTime: iso(0),
    ...parts,
  };
}

/** The status of an accepted and started Incident with these attempts. */
export function begun(attempts: readonly Attempt[], more: object = {}): object {
  return {
    startTime: iso(0),
    limits: LIMITS,
    attempts,
    conditions: [condition('Accepted', 'True', 'Accepted')],
    ...more,
  };
}

export const condition = (type: string, status: string, reason: string, message = '') => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: iso(0),
});

export const claim = (number: number, outcome: ClaimOutcome, second = 0) => ({
  attempt: number,
  outcome,
  summary: 'did it',
  rootCause: 'r',
  actions: [],
  time: iso(second),
});

export const sees = (second: number, passing: boolean): Observation => ({
  name: 'c',
  passing,
  observed: `object.x = ${passing}`,
  time: iso(second),
});

export const firstObservation = {
  verification: [],
  baseline: { time: iso(0), workloads: [], volumeClaims: [] },
};

export function observed(parts: Partial<Observed> = {}): Observed {
  return {
    agentClass,
    syntaxErrors: new Map(),
    ownNamespaces: ['oplab-system', 'oplab-agents'],
    pod: undefined,
    oldPods: 0,
    blocker: undefined,
    quotaHold: undefined,
    observation: undefined,
    learned: undefined,
    cleaned: new Set(['attempt-1', 'attempt-2', 'attempt-3']),
    startProblem: undefined,
    ...parts,
  };
}

export const running = begun([attempt(1, { podUID: 'u1' })]);
export const types = (made: Plan) => made.actions.map((action) => action.type);
export const findReason = (made: Plan, type: keyof typeof CONDITIONS) =>
  findCondition(made.status?.conditions, CONDITIONS[type])?.reason;
/** The phase in which the Incident is to end. */
export const end = (made: Plan) => findCondition(made.status?.conditions, CONDITIONS.AuditSealed)?.message;
export const lastReason = (made: Plan) => made.status?.attempts?.at(-1)?.reason;
