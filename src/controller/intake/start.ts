// Starts the intake as the chart configures it: routes and token from files, and its metrics.

import { readFile } from 'node:fs/promises';
import type { Logger } from '../../observability/logger.ts';
import { Counter, Histogram, type Registry, SECONDS_BUCKETS } from '../../observability/metrics.ts';
import type { IncidentOpener } from '../alarm/incident-opener.ts';
import { BearerToken } from './bearer-token.ts';
import { Intake } from './intake.ts';
import { parseIntakeConfig } from './route.ts';
import { type IntakeServer, type IntakeServerOptions, startIntakeServer } from './server.ts';

export interface StartIntakeOptions extends Pick<IntakeServerOptions, 'port' | 'host' | 'tls'> {
  readonly routesFile: string;
  readonly tokenFile: string;
  readonly incidentOpener: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly log: Logger;
  readonly registry: Registry;
}

/**
 * Resolves when the server listens.
 * @throws InvalidInput that names the invalid field of the file
 */
export async function startIntake(options: StartIntakeOptions): Promise<IntakeServer> {
  const { routesFile, tokenFile, incidentOpener, log, registry, ...listening } = options;
  const { routes } = parseIntakeConfig(await readFile(routesFile, 'utf8'), routesFile);
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
  const paths = new Set(['/alertmanager', '/webhook']);
  const server = await startIntakeServer({
    ...listening,
    intake: new Intake({
      routes,
      incidentOpener,
      log,
      onReceipt: ({ route, result }) => alerts.inc({ route: route ?? 'none', result }),
    }),
    token: new BearerToken(tokenFile),
    log,
    // Anyone can choose a path, so a series per path would make the metric grow without limit.
    onAnswer: (path, status, took) => seconds.observe({ path: paths.has(path) ? path : 'other', status }, took),
  });
  log.info({ port: server.port, routes: routes.map(({ name }) => name) }, 'the intake is listening');
  return server;
}
