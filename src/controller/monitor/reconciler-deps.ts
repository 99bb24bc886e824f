// The dependencies of the Monitor reconciler. Tests pass in their own.

import type { AgentClass } from '../../api/agent-class.ts';
import type { Incident } from '../../api/incident.ts';
import type { Monitor } from '../../api/monitor.ts';
import type { Cel } from '../../checks/cel.ts';
import type { CheckContext } from '../../checks/observe.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import type { IncidentOpener } from '../alarm/incident-opener.ts';
import type { Note } from '../event.ts';

export interface MonitorReconcilerDeps {
  readonly client: KubeClient;
  /** The namespace of the service accounts that run the checks. */
  readonly agentsNamespace: string;
  /** The namespaces of oplab itself, in which no agent may work. */
  readonly ownNamespaces: readonly string[];
  readonly log: Log;
  readonly now: () => Date;
  /** Reads the local copies, by "namespace/name". */
  readonly monitor: (key: string) => Monitor | undefined;
  readonly incident: (key: string) => Incident | undefined;
  readonly agentClass: (name: string) => AgentClass | undefined;
  /** What the checks need to run with the read-only identity of a class. */
  readonly checkContext: (className: string, namespace: string | undefined) => CheckContext;
  /** With the namespace of the Monitor as the owner. */
  readonly cel: Pick<Cel, 'syntaxError'>;
  readonly incidentOpener: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly record: (monitor: Monitor, note: Note) => void;
  /** Called for each failed probe, for metrics. */
  readonly onFailedProbe: (monitor: Monitor) => void;
  /** Returns a number between 0 and 1. */
  readonly random: () => number;
}
