// What the Monitor reconciler is given: the API server, local copies, eyes, the alarm book, a clock. Tests hand in their own.

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
  /** Where the accounts are that look. */
  readonly agentsNamespace: string;
  /** Where oplab itself runs, and no agent may work. */
  readonly ownNamespaces: readonly string[];
  readonly log: Log;
  readonly now: () => Date;
  /** From the local copies, by "namespace/name". */
  readonly monitor: (key: string) => Monitor | undefined;
  readonly incident: (key: string) => Incident | undefined;
  readonly agentClass: (name: string) => AgentClass | undefined;
  /** Sees with the read-only identity of a class. */
  readonly checkContext: (className: string) => CheckContext;
  readonly cel: Pick<Cel, 'syntaxError'>;
  readonly book: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly record: (monitor: Monitor, note: Note) => void;
  /** A look saw nothing; for metrics. */
  readonly failedToSee: (monitor: Monitor) => void;
  /** Between 0 and 1. */
  readonly random: () => number;
}
