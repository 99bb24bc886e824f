// All AgentClasses, watched: what they use a day is counted, and their models are asked about. Both are
// written to the status of the class.

import { type AgentClass, agentClass as agentClassSchema } from '../api/agent-class.ts';
import type { KubeClient } from '../kube/client.ts';
import { Reflector } from '../kube/reflector.ts';
import { AGENT_CLASSES } from '../kube/resources.ts';
import type { Logger } from '../observability/logger.ts';
import { ClassStatusWriter, quotaClass } from './class-status.ts';
import { DayQuota, type QuotaClass } from './day-quota.ts';
import type { ClassUsage } from './metrics.ts';
import type { ModelProbes } from './model-probe.ts';

/** Makes what asks about the models of classes, and calls back when it knows something new. */
export type ClassProbes = (classes: () => readonly AgentClass[], onChange: () => void) => ModelProbes;

export interface ClassQuotas {
  readonly dayQuota: DayQuota;
  readonly classes: Reflector<AgentClass>;
  /** The quota that is in force for the class of this name. */
  quotaClass(name: string): QuotaClass;
  /** What each class has used today. */
  usages(): ClassUsage[];
  /** Takes over what the status of the classes says, and keeps it up to date until the signal. */
  start(): void;
}

export function createClassQuotas(options: {
  readonly client: KubeClient;
  readonly logger: Logger;
  /** Whether the models of a class can be used. */
  readonly probes: ClassProbes;
  readonly signal: AbortSignal;
}): ClassQuotas {
  const { client, logger, signal } = options;
  const dayQuota = new DayQuota({
    onChange: (_name, isUrgent) => {
      if (isUrgent) status.hurry();
    },
  });
  const classes = new Reflector<AgentClass>({
    client,
    resource: AGENT_CLASSES,
    parse: (object) => agentClassSchema.parse(object),
    // A higher quota may apply at once.
    onEvent: ({ object, previous }) => {
      if (previous?.metadata.generation === object.metadata.generation) return;
      status.hurry();
      probes.hurry();
    },
    logger,
  });
  const probes: ModelProbes = options.probes(
    () => classes.list(),
    () => status.hurry(),
  );
  const status: ClassStatusWriter = new ClassStatusWriter({
    client,
    quota: dayQuota,
    classes: () => classes.list(),
    modelState: (agentClass) => probes.state(agentClass),
    logger,
    signal,
  });
  return {
    dayQuota,
    classes,
    quotaClass: (name) => quotaClass(name, classes.get(name)),
    usages: () =>
      classes.list().map((agentClass) => {
        const inForce = quotaClass(agentClass.metadata.name, agentClass);
        return { name: inForce.name, quota: inForce.quota, usage: dayQuota.usage(inForce) };
      }),
    start() {
      for (const agentClass of classes.list()) {
        dayQuota.restore(quotaClass(agentClass.metadata.name, agentClass), agentClass.status?.day);
      }
      void status.run();
      void probes.run();
    },
  };
}
