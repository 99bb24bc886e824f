// What the reconciler is given: the API server, local copies, eyes for the checks, a clock. Tests hand in their own.

import type { AgentClass } from '../../api/agent-class.ts';
import type { Incident } from '../../api/incident.ts';
import type { Cel } from '../../checks/cel.ts';
import type { CheckContext } from '../../checks/observe.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import type { Note } from '../event.ts';

/** Moments at which a controller may be killed; tests do. In the order in which they come. */
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

export interface ReconcilerDeps {
  readonly client: KubeClient;
  /** Where agent pods run. */
  readonly agentsNamespace: string;
  /** Where the gateway is. */
  readonly systemNamespace: string;
  /** These, and whatever else is oplab's own: no agent may work there. */
  readonly ownNamespaces: readonly string[];
  /** More addresses that sandboxes prove closed: "name=host:port,…". */
  readonly isolationProbes: string;
  readonly log: Log;
  readonly now: () => Date;
  /** From the local copies. */
  readonly incidents: () => readonly Incident[];
  readonly agentClass: (name: string) => AgentClass | undefined;
  readonly pods: (incidentUID: string) => readonly KubeObject[];
  /** Sees with the read-only identity of a class. */
  readonly checkContext: (className: string) => CheckContext;
  readonly cel: Pick<Cel, 'syntaxError'>;
  readonly record: (incident: Incident, note: Note) => void;
  /** Called after each step; never resolves where a test kills the controller. */
  readonly checkpoint: (step: Step, incident: Incident) => Promise<void>;
}
