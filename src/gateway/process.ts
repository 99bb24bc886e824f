// `oplab gateway`: leases, doors, the audit log and the read API. SIGTERM stops it in order.

import { parseEnvironment } from '../environment.ts';
import { createKubeClient } from '../kube/client.ts';
import { createLogger } from '../observability/logger.ts';
import { gatewayEnvironment } from './environment.ts';
import { startGateway } from './gateway.ts';

/** Runs until SIGTERM or SIGINT. @throws if the gateway cannot start */
export async function runGateway(): Promise<void> {
  const environment = parseEnvironment(gatewayEnvironment);
  const logger = createLogger('gateway');
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.info({ signal }, 'stopping');
      stop.abort();
    });
  }
  // An unhandled rejection is a bug of ours, but no reason to disconnect every agent.
  process.on('unhandledRejection', (error) => logger.error({ error }, 'unhandled promise rejection'));
  const gateway = await startGateway({ environment, client: createKubeClient(), logger, signal: stop.signal });
  await gateway.closed;
}
