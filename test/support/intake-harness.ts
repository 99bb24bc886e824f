// An intake in the test's own process, with a real API server, the test's routes, and their tokens.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Incident, incident as incidentSchema } from '../../src/api/incident.ts';
import { IncidentOpener } from '../../src/controller/alarm/incident-opener.ts';
import { startIntake } from '../../src/controller/intake/start.ts';
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts';
import { INCIDENTS } from '../../src/kube/resources.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import type { ApiServer } from './api-server.ts';
import { silentLogger } from './silent-logger.ts';

export interface IntakeHarness {
  readonly url: string;
  /** The file with the token of a route. */
  tokenFile(route: string): string;
  /** The text of a metric's lines. */
  metric(name: string): Promise<string[]>;
  stop(): Promise<void>;
}

/** The token of a route. */
export const tokenOf = (route: string): string => `a-token-of-${route}`;

/** A separate replica, which shares only the API server with others. */
export async function startIntakeHarness(
  server: ApiServer,
  routes: readonly { readonly name: string; readonly [field: string]: unknown }[],
  options: { opener?: (client: KubeClient) => Pick<IncidentOpener, 'raise' | 'clear'> } = {},
): Promise<IntakeHarness> {
  const folder = await mkdtemp(path.join(tmpdir(), 'oplab-intake-'));
  const routesFile = path.join(folder, 'routes.json');
  const tokensFolder = path.join(folder, 'tokens');
  const tokenFile = (route: string) => path.join(tokensFolder, route);
  await mkdir(tokensFolder);
  await writeFile(routesFile, JSON.stringify({ routes }));
  for (const { name } of routes) await writeFile(tokenFile(name), tokenOf(name));
  const client = createKubeClient({ kubeconfig: server.kubeconfig });
  const registry = createRegistry('test');
  const incidentOpener =
    options.opener?.(client) ?? new IncidentOpener({ client, now: () => new Date(), record: () => {} });
  const intake = await startIntake({
    routesFile,
    tokensFolder,
    port: 0,
    host: '127.0.0.1',
    incidentOpener,
    log: silentLogger(),
    registry,
  });
  return {
    url: `http://127.0.0.1:${intake.port}`,
    tokenFile,
    async metric(name) {
      return (await registry.metrics()).split('\n').filter((line) => line.startsWith(`${name}{`));
    },
    async stop() {
      await intake.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** All Incidents of a namespace. */
export async function incidentsIn(client: KubeClient, namespace: string): Promise<Incident[]> {
  return (await client.list(INCIDENTS, { namespace })).items.map((object) => incidentSchema.parse(object));
}
