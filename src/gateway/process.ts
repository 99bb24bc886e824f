// `oplab gateway`: leases, doors, the audit log, the read API. Settings come from the environment; SIGTERM stops it in order.

import { parseEnvironment } from '../environment.ts';
import { createKubeClient } from '../kube/client.ts';
import { createLogger } from '../observability/logger.ts';
import { gatewayEnvironment } from './environment.ts';
import { startGateway } from './gateway.ts';

/** Runs until SIGTERM or SIGINT. @throws what keeps the gateway from starting */
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
  // A promise that nobody waits for is a fault of ours, but no reason to cut every agent off.
  process.on('unhandledRejection', (error) => logger.error({ error }, 'a promise was rejected unseen'));
  const gateway = await startGateway({ environment, client: createKubeClient(), logger, signal: stop.signal });
  await gateway.closed;
}
