// The process `oplab docker-socket`: serves a host's Docker socket to the gateway only, over mutual
// TLS.

import { connect } from 'node:net';
import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';
import { errorMessage } from '../errors.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { createSocketRelay } from './relay.ts';

const port = z.coerce.number().int().min(0).max(65535);

const environment = z.object({
  OPLAB_DOCKER_SOCKET: z.string().default('/var/run/docker.sock'),
  /** The folder with ca.crt, tls.crt and tls.key. */
  OPLAB_DOCKER_TLS: z.string().default('/etc/oplab/docker-tls'),
  OPLAB_DOCKER_CLIENT_NAME: z.string().default('oplab-gateway'),
  OPLAB_DOCKER_PORT: port.default(2376),
  OPLAB_HEALTH_PORT: port.default(9090),
});

const CHECK_MS = 5000;
/**
 * How long the socket may be unresponsive before the container must be restarted, in milliseconds.
 */
const STALE_MS = 30_000;

/** Why the daemon does not respond on the socket; undefined if it does. */
function checkDaemon(socketPath: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const done = (reason: string | undefined) => {
      socket.destroy();
      resolve(reason);
    };
    socket.setTimeout(2000, () => done(`${socketPath} does not respond`));
    socket.once('connect', () => done(undefined));
    socket.once('error', (error) => done(errorMessage(error)));
  });
}

/** Runs until SIGTERM or SIGINT. @throws if it cannot start */
export async function runDockerSocket(): Promise<void> {
  const env = parseEnvironment(environment);
  const logger = createLogger('docker-socket');
  const server = createSocketRelay({
    socketPath: env.OPLAB_DOCKER_SOCKET,
    tls: env.OPLAB_DOCKER_TLS,
    clientName: env.OPLAB_DOCKER_CLIENT_NAME,
    logger,
  });
  // A restarted daemon creates a new socket, but the mount still refers to the old one until this
  // container is restarted.
  let goneSince: number | undefined;
  const watch = setInterval(async () => {
    goneSince = (await checkDaemon(env.OPLAB_DOCKER_SOCKET)) === undefined ? undefined : (goneSince ?? Date.now());
  }, CHECK_MS);
  watch.unref();
  const health = await startHealthServer({
    port: env.OPLAB_HEALTH_PORT,
    ready: async () => await checkDaemon(env.OPLAB_DOCKER_SOCKET),
    alive: () =>
      goneSince !== undefined && Date.now() - goneSince > STALE_MS ? 'the socket does not respond' : undefined,
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
    'serving the Docker socket to the gateway',
  );
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  server.close();
  await health.close();
  // Open streams would keep the process alive.
  process.exit(0);
}
