// `oplab docker-socket`: the one process that may mount a host's Docker socket; it lets the gateway in, by certificate, and nobody else.

import { z } from 'zod';
import { parseEnvironment } from '../environment.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { createSocketRelay } from './relay.ts';

const port = z.coerce.number().int().min(0).max(65535);

const environment = z.object({
  OPLAB_DOCKER_SOCKET: z.string().default('/var/run/docker.sock'),
  /** A folder with ca.crt, tls.crt and tls.key. */
  OPLAB_DOCKER_TLS: z.string().default('/etc/oplab/docker-tls'),
  OPLAB_DOCKER_CLIENT_NAME: z.string().default('oplab-gateway'),
  OPLAB_DOCKER_PORT: port.default(2376),
  OPLAB_HEALTH_PORT: port.default(9090),
});

/** Runs until SIGTERM or SIGINT. @throws what keeps it from starting */
export async function runDockerSocket(): Promise<void> {
  const env = parseEnvironment(environment);
  const logger = createLogger('docker-socket');
  const server = createSocketRelay({
    socketPath: env.OPLAB_DOCKER_SOCKET,
    tls: env.OPLAB_DOCKER_TLS,
    clientName: env.OPLAB_DOCKER_CLIENT_NAME,
    logger,
  });
  const health = await startHealthServer({
    port: env.OPLAB_HEALTH_PORT,
    ready: () => undefined,
    registry: createRegistry('docker-socket'),
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.once('error', reject);
    server.listen(env.OPLAB_DOCKER_PORT, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : env.OPLAB_DOCKER_PORT);
    });
  });
  logger.info(
    { port: bound, socket: env.OPLAB_DOCKER_SOCKET, health: health.port },
    'the Docker socket is served to the gateway',
  );
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  server.close();
  await health.close();
  // Streams have no end of their own.
  process.exit(0);
}
