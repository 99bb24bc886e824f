// The watches from which the gateway knows Incidents, agent pods and AgentClasses.

import { type Incident, incident as incidentSchema } from '../api/incident.ts';
import type { KubeClient } from '../kube/client.ts';
import { Reflector } from '../kube/reflector.ts';
import { INCIDENTS, PODS } from '../kube/resources.ts';
import type { Logger } from '../observability/logger.ts';
import type { ClassQuotas } from './class-quotas.ts';
import { type AgentPod, agentPod } from './lease-registry.ts';
import type { Sessions } from './sessions.ts';

export interface Watches {
  /** Starts all watches. Resolves when everything is listed. */
  start(signal: AbortSignal): Promise<void>;
  /** What is not listed yet; undefined when all is. */
  readonly notSynced: string | undefined;
}

export function createWatches(options: {
  readonly client: KubeClient;
  readonly agentsNamespace: string;
  readonly sessions: Pick<Sessions, 'leases' | 'lifecycle' | 'conversations' | 'forget'>;
  readonly classes: ClassQuotas['classes'];
  readonly logger: Logger;
}): Watches {
  const { client, agentsNamespace, sessions, classes, logger } = options;
  const incidents = new Reflector<Incident>({
    client,
    resource: INCIDENTS,
    parse: (object) => incidentSchema.parse(object),
    // Leases first, so that the streams are closed before the others see the change.
    onEvent: (event) => {
      sessions.leases.incidentChanged(event);
      sessions.lifecycle.incidentChanged(event);
      void sessions.conversations.dropEnded();
      if (event.type === 'deleted') sessions.forget(event.object.metadata.uid);
    },
    logger,
  });
  const pods = new Reflector<AgentPod>({
    client,
    resource: PODS,
    namespace: agentsNamespace,
    parse: (object) => agentPod.parse(object),
    onEvent: (event) => sessions.leases.podChanged(event),
    logger,
  });
  const all = [incidents, pods, classes];
  return {
    async start(signal) {
      for (const watch of all) watch.start(signal);
      await Promise.all(all.map((watch) => watch.synced()));
    },
    get notSynced() {
      if (!incidents.isSynced) return 'the Incidents are not listed yet';
      if (!pods.isSynced) return 'the agent pods are not listed yet';
      if (!classes.isSynced) return 'the AgentClasses are not listed yet';
      return undefined;
    },
  };
}
