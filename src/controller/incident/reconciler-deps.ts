// The dependencies of the reconciler: the API server, caches, checks, and the seams of tests.

import type { AgentClass } from '../../api/agent-class.ts';
import type { Incident } from '../../api/incident.ts';
import type { KubeClient, KubeObject } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import type { ClassChecks } from '../class-checks.ts';
import type { Note } from '../event.ts';
import type { Installation } from '../installation.ts';
import type { Seams } from '../seams.ts';

/** Local copies of objects; they may lag behind the API server. */
export interface IncidentCaches {
  readonly incidents: () => readonly Incident[];
  readonly agentClass: (name: string) => AgentClass | undefined;
  readonly pods: (incidentUID: string) => readonly KubeObject[];
}

export interface ReconcilerDeps {
  readonly client: KubeClient;
  readonly installation: Installation;
  readonly caches: IncidentCaches;
  readonly checks: Pick<ClassChecks, 'contextFor' | 'syntaxError'>;
  readonly log: Log;
  readonly record: (incident: Incident, note: Note) => void;
  readonly seams: Pick<Seams, 'now' | 'checkpoint'>;
}
