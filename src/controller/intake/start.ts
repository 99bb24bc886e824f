// Starts the intake as the chart configures it: routes and their tokens from files, and its metrics.

import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from '../../observability/logger.ts';
import { Counter, Gauge, Histogram, type Registry, SECONDS_BUCKETS } from '../../observability/metrics.ts';
import type { IncidentOpener } from '../alarm/incident-opener.ts';
import { BearerToken } from './bearer-token.ts';
import { Intake } from './intake.ts';
import { type ConfiguredRoute, parseIntakeConfig } from './route.ts';
import { type IntakeServer, type IntakeServerOptions, startIntakeServer } from './server.ts';

export interface StartIntakeOptions extends Pick<IntakeServerOptions, 'port' | 'host' | 'tls'> {
  readonly routesFile: string;
  /** Has a file for each route, named after it, with the token of its senders. */
  readonly tokensFolder: string;
  readonly incidentOpener: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly log: Logger;
  readonly registry: Registry;
}

/**
 * Resolves when the server listens. Routes that are invalid are logged and disabled.
 * @throws InvalidInput when the file is no list of routes
 */
export async function startIntake(options: StartIntakeOptions): Promise<IntakeServer> {
  const { routesFile, tokensFolder, incidentOpener, log, registry, ...listening } = options;
  const routes = parseIntakeConfig(await readFile(routesFile, 'utf8'), routesFile);
  reportRoutes(routes, log, registry);
  const alerts = new Counter({
    name: 'oplab_intake_alerts_total',
    help: 'Alerts received, by route and result.',
    labelNames: ['route', 'result'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'oplab_intake_request_seconds',
    help: 'Time from a delivery to its answer.',
    labelNames: ['path', 'status'],
    buckets: SECONDS_BUCKETS,
    registers: [registry],
  });
  const server = await startIntakeServer({
    ...listening,
    intake: new Intake({
      incidentOpener,
      log,
      onReceipt: ({ route, result }) => alerts.inc({ route, result }),
    }),
    routes: routes.map((one) => ({ ...one, token: new BearerToken(path.join(tokensFolder, one.name)) })),
    log,
    // Anyone can choose a path, so a series per path would make the metric grow without limit.
    onAnswer: (called, status, took) => seconds.observe({ path: called ?? 'other', status }, took),
  });
  log.info({ port: server.port, routes: routes.map(({ name }) => name) }, 'the intake is listening');
  return server;
}

function reportRoutes(routes: readonly ConfiguredRoute[], log: Logger, registry: Registry): void {
  const enabled = new Gauge({
    name: 'oplab_intake_route_enabled',
    help: '1 for a route that is served, 0 for one that is disabled because it is invalid.',
    labelNames: ['route'],
    registers: [registry],
  });
  for (const one of routes) {
    enabled.set({ route: one.name }, one.route === undefined ? 0 : 1);
    if (one.route === undefined) log.error({ route: one.name, problem: one.problem }, 'route disabled');
  }
}
