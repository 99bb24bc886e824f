// The process `oplab sandbox`: the shell server in the sandbox container, next to the agent.

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { parseEnvironment } from '../environment.ts';
import { OplabError } from '../errors.ts';
import { probeContainer } from './container-probes.ts';
import { DOCKER_SOCKET_PATH, startDockerRelay } from './docker-relay.ts';
import { isolationAddresses, probeIsolation } from './isolation-probes.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { ownsContainer } from './process-tree.ts';
import { SOCKET_PATH } from './protocol.ts';
import { probeShellServer, startShellServer } from './shell-server.ts';

const socket = z.object({ OPLAB_SOCKET: z.string().default(SOCKET_PATH) });

const environment = socket.extend({
  OPLAB_KUBE_URL: z.url(),
  OPLAB_CA_FILE: z.string(),
  OPLAB_TOKEN_FILE: z.string(),
  OPLAB_TARGET_NAMESPACE: z.string(),
  OPLAB_SANDBOX_HOME: z.string().default('/home/oplab'),
  PATH: z.string().default('/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'),
  KUBERNETES_SERVICE_HOST: z.string().optional(),
  KUBERNETES_SERVICE_PORT: z.coerce.number().int().default(443),
  HOST_IP: z.string().optional(),
  /** The URL of the docker door; set only if the AgentClass gives access to a Docker host. */
  OPLAB_DOCKER_URL: z.url().optional(),
  OPLAB_DOCKER_SOCKET: z.string().default(DOCKER_SOCKET_PATH),
  OPLAB_ISOLATION_PROBES: z.string().default(''),
  /** Names of probes whose holes the AgentClass allows, separated by commas. */
  OPLAB_ALLOWED_HOLES: z.string().default(''),
});

/** The complete environment of a command, which inherits nothing from this process. */
export function commandEnvironment(home: string, searchPath: string, kubeconfigFile: string): Record<string, string> {
  return { PATH: searchPath, HOME: home, LANG: 'C.UTF-8', TERM: 'dumb', KUBECONFIG: kubeconfigFile };
}

/**
 * Serves commands until SIGTERM. With `--probe`, only checks that the running server responds.
 * @throws OplabError OPLAB_SANDBOX_UNREACHABLE if the server does not respond to a probe
 */
export async function runSandbox(args: readonly string[] = []): Promise<void> {
  if (args.includes('--probe')) {
    const { OPLAB_SOCKET } = parseEnvironment(socket);
    if (await probeShellServer(OPLAB_SOCKET)) return;
    throw new OplabError('OPLAB_SANDBOX_UNREACHABLE', `no shell server responds on ${OPLAB_SOCKET}`);
  }
  const env = parseEnvironment(environment);
  const home = env.OPLAB_SANDBOX_HOME;
  const kubeconfigFile = await writeKubeconfig(home, {
    server: env.OPLAB_KUBE_URL,
    certificateAuthorityFile: env.OPLAB_CA_FILE,
    tokenFile: env.OPLAB_TOKEN_FILE,
    namespace: env.OPLAB_TARGET_NAMESPACE,
  });
  await mkdir(path.dirname(env.OPLAB_SOCKET), { recursive: true });
  const addresses = isolationAddresses({
    apiServerHost: env.KUBERNETES_SERVICE_HOST,
    apiServerPort: env.KUBERNETES_SERVICE_PORT,
    hostIP: env.HOST_IP,
    extra: env.OPLAB_ISOLATION_PROBES,
  });
  const ownSockets =
    env.OPLAB_DOCKER_URL === undefined
      ? []
      : [env.OPLAB_DOCKER_SOCKET, env.OPLAB_DOCKER_SOCKET.replace(/^\/var\//, '/')];
  // Plain lines instead of the logger, because the image should contain as little of oplab as
  // possible.
  const report = (line: string) =>
    process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), process: 'sandbox', msg: line })}\n`);
  const server = await startShellServer({
    socketPath: env.OPLAB_SOCKET,
    shellEnvironment: {
      environment: commandEnvironment(home, env.PATH, kubeconfigFile),
      directory: home,
      wholeContainer: await ownsContainer(),
      ...((await ownsContainer())
        ? { ownListeners: [env.OPLAB_SOCKET, env.OPLAB_DOCKER_SOCKET].map((path) => `unix ${path}`) }
        : {}),
    },
    isolation: () =>
      probeIsolation(addresses, {
        allowed: env.OPLAB_ALLOWED_HOLES.split(','),
        container: () => probeContainer(ownSockets),
      }),
    report,
  });
  report(`listening on ${env.OPLAB_SOCKET}`);
  const docker =
    env.OPLAB_DOCKER_URL === undefined
      ? undefined
      : await startDockerRelay({
          socketPath: env.OPLAB_DOCKER_SOCKET,
          url: new URL(env.OPLAB_DOCKER_URL),
          caFile: env.OPLAB_CA_FILE,
          tokenFile: env.OPLAB_TOKEN_FILE,
          report,
        });
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve);
    process.once('SIGINT', resolve);
  });
  await docker?.close();
  await server.close();
}
