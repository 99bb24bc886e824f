// The intake as the chart sets it up: routes and token from files, alarms into the book, metrics of what came and what became of it.

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
  readonly book: Pick<IncidentOpener, 'raise' | 'clear'>;
  readonly log: Logger;
  readonly registry: Registry;
}

/** Resolves when it listens. @throws InvalidInput that names the field of the file that does not fit */
export async function startIntake(options: StartIntakeOptions): Promise<IntakeServer> {
  const { routesFile, tokenFile, book, log, registry, ...listening } = options;
  const { routes } = parseIntakeConfig(await readFile(routesFile, 'utf8'), routesFile);
  const alerts = new Counter({
    name: 'oplab_intake_alerts_total',
    help: 'Alerts taken in, by route and by what became of them.',
    labelNames: ['route', 'result'],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: 'oplab_intake_request_seconds',
    help: 'From a delivery to its answer.',
    labelNames: ['path', 'status'],
    buckets: SECONDS_BUCKETS,
    registers: [registry],
  });
  const paths = new Set(['/alertmanager', '/webhook']);
  const server = await startIntakeServer({
    ...listening,
    intake: new Intake({
      routes,
      book,
      log,
      onReceipt: ({ route, result }) => alerts.inc({ route: route ?? 'none', result }),
    }),
    token: new BearerToken(tokenFile),
    log,
    // Strangers choose paths; a metric with a series for each of them would grow without end.
    onAnswer: (path, status, took) => seconds.observe({ path: paths.has(path) ? path : 'other', status }, took),
  });
  log.info({ port: server.port, routes: routes.map(({ name }) => name) }, 'the intake listens');
  return server;
}
