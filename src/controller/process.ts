// The process `oplab controller`: reads its environment, serves health, runs the controller until SIGTERM.

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { z } from 'zod';
import { InvalidInput } from '../errors.ts';
import { createKubeClient } from '../kube/client.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger } from '../observability/logger.ts';
import { createRegistry, Gauge } from '../observability/metrics.ts';
import { Controller } from './controller.ts';

const environment = z.object({
  OPLAB_AGENTS_NAMESPACE: z.string().min(1).default('oplab-agents'),
  OPLAB_SYSTEM_NAMESPACE: z.string().min(1).default('oplab-system'),
  OPLAB_IDENTITY: z.string().optional(),
  OPLAB_WALL_PROBES: z.string().default(''),
  OPLAB_HEALTH_PORT: z.coerce.number().int().min(0).max(65535).default(9090),
});

/** Runs until SIGTERM or SIGINT. @throws when leadership is lost, so that the pod starts anew with nothing of it */
export async function runController(): Promise<void> {
  const parsed = environment.safeParse(process.env);
  if (!parsed.success) throw new InvalidInput(`environment: ${z.prettifyError(parsed.error)}`, parsed.error);
  const env = parsed.data;
  const log = createLogger('controller');
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());

  const controller = new Controller({
    client: createKubeClient(),
    agentsNamespace: env.OPLAB_AGENTS_NAMESPACE,
    systemNamespace: env.OPLAB_SYSTEM_NAMESPACE,
    wallProbes: env.OPLAB_WALL_PROBES,
    // Random besides the name: a restarted container must not take its own old lease for a live one.
    identity: `${env.OPLAB_IDENTITY ?? hostname()}_${randomUUID().slice(0, 8)}`,
    log,
  });
  const registry = createRegistry('controller');
  registerMetrics(registry, controller);
  const health = await startHealthServer({ port: env.OPLAB_HEALTH_PORT, ready: () => controller.notReady, registry });
  try {
    await controller.run(stop.signal);
    log.info({}, 'stopped');
  } finally {
    await health.close();
  }
}

function registerMetrics(registry: ReturnType<typeof createRegistry>, controller: Controller): void {
  const leading = new Gauge({
    name: 'oplab_controller_leading',
    help: '1 while this process leads.',
    registers: [registry],
    collect() {
      this.set(controller.isLeading ? 1 : 0);
    },
  });
  leading.set(0);
  const incidents = new Gauge({
    name: 'oplab_incidents',
    help: 'Incidents by phase.',
    labelNames: ['phase'],
    registers: [registry],
    collect() {
      this.reset();
      for (const incident of controller.incidents()) this.inc({ phase: incident.status?.phase ?? 'New' });
    },
  });
  incidents.reset();
}
