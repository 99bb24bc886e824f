// The `oplab controller` process: reads its environment, serves health and runs the controller.

import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import * as z from 'zod';
import { parseEnvironment, readKeyFile } from '../environment.ts';
import { InvalidInput } from '../errors.ts';
import { createKubeClient } from '../kube/client.ts';
import { watchExpiry } from '../net/certificate-expiry.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger } from '../observability/logger.ts';
import { Counter, createRegistry, Gauge, type Registry } from '../observability/metrics.ts';
import { IncidentOpener } from './alarm/incident-opener.ts';
import { AUTHORITIES } from './certificates/authority.ts';
import { configureRenewal } from './certificates/configure.ts';
import { Controller } from './controller.ts';

import { eventRecorder } from './incident/events.ts';
import type { Installation } from './installation.ts';
import type { IntakeServer } from './intake/server.ts';
import { startIntake } from './intake/start.ts';
import { configureNotifications } from './notify/configure.ts';
import type { NotifyOptions } from './notify/notifier.ts';

const environment = z.object({
  OPLAB_AGENTS_NAMESPACE: z.string().min(1).default('oplab-agents'),
  OPLAB_SYSTEM_NAMESPACE: z.string().min(1).default('oplab-system'),
  OPLAB_DOCKER_NAMESPACE: z.string().min(1).default('oplab-docker'),
  OPLAB_IDENTITY: z.string().optional(),
  OPLAB_ISOLATION_PROBES: z.string().default(''),
  OPLAB_HEALTH_PORT: z.coerce.number().int().min(0).max(65535).default(9090),
  OPLAB_INTAKE_PORT: z.coerce.number().int().min(0).max(65535).default(8085),
  /** Without it, there is no intake. */
  OPLAB_INTAKE_ROUTES_FILE: z.string().min(1).optional(),
  /** Has a file with the token of each route, named after the route. */
  OPLAB_INTAKE_TOKENS_FOLDER: z.string().min(1).default('/etc/oplab/intake'),
  /** Contains tls.crt and tls.key. */
  OPLAB_INTAKE_TLS_FOLDER: z.string().min(1).optional(),
  /** Serves plain HTTP, in which tokens can be read on the way. */
  OPLAB_INTAKE_PLAIN_HTTP: z.literal('true').optional(),
  /** File with the key that canaries are derived from. Without it, there are no tripwires. */
  OPLAB_TRIPWIRE_KEY_FILE: z.string().min(1).optional(),
  OPLAB_CANARY_SECRET: z.string().min(1).default('cloud-admin-credentials'),
  OPLAB_CANARY_HOST: z.string().min(1).default('vault.oplab-system.svc'),
  /** The CAs whose certificates are renewed, separated by commas. */
  OPLAB_RENEWED_AUTHORITIES: z
    .string()
    .default('')
    .transform((text) => text.split(',').filter((name) => name !== ''))
    .pipe(z.array(z.enum(AUTHORITIES))),
  /** Without it, no notifications are sent. */
  OPLAB_RECEIVERS_FILE: z.string().min(1).optional(),
  OPLAB_RECEIVER_URLS_FOLDER: z.string().min(1).default('/etc/oplab/receivers'),
});
type Environment = z.infer<typeof environment>;

/**
 * Runs until SIGTERM or SIGINT.
 * @throws when leadership is lost, so that the pod restarts without state
 */
export async function runController(): Promise<void> {
  const env = parseEnvironment(environment);
  const log = createLogger('controller');
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());

  const client = createKubeClient();
  // The random suffix keeps a restarted container from mistaking its old lease for its current one.
  const identity = `${env.OPLAB_IDENTITY ?? hostname()}_${randomUUID().slice(0, 8)}`;
  const registry = createRegistry('controller');
  const key = await readKeyFile('OPLAB_TRIPWIRE_KEY_FILE', env.OPLAB_TRIPWIRE_KEY_FILE);
  const installation: Installation = {
    agentsNamespace: env.OPLAB_AGENTS_NAMESPACE,
    systemNamespace: env.OPLAB_SYSTEM_NAMESPACE,
    dockerNamespace: env.OPLAB_DOCKER_NAMESPACE,
    isolationProbes: env.OPLAB_ISOLATION_PROBES,
    tripwires:
      key === undefined ? undefined : { key, secretName: env.OPLAB_CANARY_SECRET, host: env.OPLAB_CANARY_HOST },
  };
  const controller = new Controller({
    client,
    installation,
    identity,
    log,
    notify: await notifications(env, registry),
    renewal: configureRenewal(env.OPLAB_RENEWED_AUTHORITIES, installation, registry),
  });
  registerMetrics(registry, controller);
  const health = await startHealthServer({ port: env.OPLAB_HEALTH_PORT, ready: () => controller.notReady, registry });
  const incidentOpener = new IncidentOpener({
    client,
    now: () => new Date(),
    record: eventRecorder(client, identity, log),
  });
  let intake: IntakeServer | undefined;
  try {
    intake = await startConfiguredIntake(env, incidentOpener, registry, stop.signal);
    await controller.run(stop.signal);
    log.info({}, 'stopped');
  } finally {
    await Promise.all([health.close(), intake?.close()]);
  }
}

async function notifications(env: Environment, registry: Registry): Promise<NotifyOptions | undefined> {
  const { OPLAB_RECEIVERS_FILE: receiversFile, OPLAB_RECEIVER_URLS_FOLDER: urlsFolder } = env;
  return receiversFile === undefined
    ? undefined
    : await configureNotifications({ receiversFile, urlsFolder }, registry);
}

/** Runs on every replica, leading or not: the API server holds all state of the intake. */
async function startConfiguredIntake(
  env: Environment,
  incidentOpener: IncidentOpener,
  registry: Registry,
  signal: AbortSignal,
): Promise<IntakeServer | undefined> {
  const { OPLAB_INTAKE_ROUTES_FILE: routesFile, OPLAB_INTAKE_TLS_FOLDER: folder } = env;
  if (routesFile === undefined) return undefined;
  if (folder === undefined && env.OPLAB_INTAKE_PLAIN_HTTP === undefined) {
    throw new InvalidInput(
      'OPLAB_INTAKE_TLS_FOLDER: not set; name the folder with tls.crt and tls.key, or set OPLAB_INTAKE_PLAIN_HTTP=true',
    );
  }
  if (folder !== undefined) {
    const files = { intake: `${folder}/tls.crt` };
    watchExpiry({ registry, logger: createLogger('intake'), files, signal });
  }
  return await startIntake({
    routesFile,
    tokensFolder: env.OPLAB_INTAKE_TOKENS_FOLDER,
    port: env.OPLAB_INTAKE_PORT,
    ...(folder === undefined ? {} : { tls: { certFile: `${folder}/tls.crt`, keyFile: `${folder}/tls.key` } }),
    incidentOpener,
    log: createLogger('intake'),
    registry,
  });
}

function registerMetrics(registry: Registry, controller: Controller): void {
  const leading = new Gauge({
    name: 'oplab_controller_leading',
    help: '1 while this process is the leader.',
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
  const monitors = new Gauge({
    name: 'oplab_monitor_state',
    help: '1 for the state that a Monitor is in.',
    labelNames: ['namespace', 'name', 'state'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { metadata, status } of controller.monitors.list()) {
        this.set({ namespace: metadata.namespace ?? '', name: metadata.name, state: status?.state ?? 'New' }, 1);
      }
    },
  });
  monitors.reset();
  const failures = new Counter({
    name: 'oplab_monitor_observation_failures_total',
    help: 'Failed observations of a Monitor, counted by this process.',
    labelNames: ['namespace', 'name'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { monitor, count } of controller.monitors.failures()) {
        this.inc({ namespace: monitor.metadata.namespace ?? '', name: monitor.metadata.name }, count);
      }
    },
  });
  failures.reset();
}
