// The dependencies of the reconciler: the API server, caches, the context of checks, a clock.

import type { AgentClass } from '../../api/agent-class.ts';
import type { Incident } from '../../api/incident.ts';
import type { Cel } from '../../checks/cel.ts';
import type { CheckContext } from '../../checks/observe.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import type { Note } from '../event.ts';

/** The points at which crash tests kill the controller, in order. */
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
  /** The namespace of the agent pods. */
  readonly agentsNamespace: string;
  /** The namespace of the gateway. */
  readonly systemNamespace: string;
  /** All namespaces of oplab itself, where no agent may work. */
  readonly ownNamespaces: readonly string[];
  /** More addresses that sandboxes must not be able to reach: "name=host:port,…". */
  readonly isolationProbes: string;
  readonly log: Log;
  readonly now: () => Date;
  /** From the caches. */
  readonly incidents: () => readonly Incident[];
  readonly agentClass: (name: string) => AgentClass | undefined;
  readonly pods: (incidentUID: string) => readonly KubeObject[];
  /** Observes with the read-only identity of a class. */
  readonly checkContext: (className: string) => CheckContext;
  readonly cel: Pick<Cel, 'syntaxError'>;
  readonly record: (incident: Incident, note: Note) => void;
  /** Called after each step. Never resolves where a test kills the controller. */
  readonly checkpoint: (step: Step, incident: Incident) => Promise<void>;
}
