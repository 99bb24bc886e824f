// The servers of the gateway: one for each door, the canary host, the read API and the admin socket.

import type { Server } from 'node:http';
import path from 'node:path';
import { AGENT_AUDIENCE, SANDBOX_AUDIENCE } from '../api/group.ts';
import type { AuditStore } from '../audit/store.ts';
import type { KubeClient } from '../kube/client.ts';
import { watchExpiry } from '../net/certificate-expiry.ts';
import type { CertificateFiles } from '../net/certificate-files.ts';
import { createTlsServer, listen, type TlsServerOptions } from '../net/tls-server.ts';
import type { Registry } from '../observability/metrics.ts';
import { startAdminServer } from './admin-socket.ts';
import { canaryHost } from './canary-host.ts';
import { Concurrency } from './concurrency.ts';
import { type AgentPort, agentPort } from './doors/agent-port.ts';
import { DockerHosts } from './doors/docker/docker-host.ts';
import { dockerDoor } from './doors/docker/door.ts';
import { loadDockerEndpoints } from './doors/docker/endpoints.ts';
import type { Door, GatewayContext } from './doors/door.ts';
import { serve } from './doors/front.ts';
import { createApiServer } from './doors/kube/api-server.ts';
import { kubeDoor } from './doors/kube/door.ts';
import type { ModelAPI } from './doors/model/upstream.ts';
import type { GatewayEnvironment } from './environment.ts';
import type { Prices } from './prices.ts';
import { createReadApi } from './read-api/server.ts';

/** Concurrent requests per Incident. A single kubectl holds several watches. */
const CONCURRENT = { agent: 32, model: 8, kube: 128, docker: 64 } as const;
/** How long open requests may take to record their outcome, in milliseconds. */
const LAST_WORDS_MS = 1500;

export interface DoorServersOptions {
  readonly environment: GatewayEnvironment;
  readonly client: KubeClient;
  readonly context: GatewayContext;
  readonly log: AuditStore;
  /** The public key of the log. */
  readonly publicKey: string;
  /** Whether the calls that an earlier gateway left without a result are recorded. */
  readonly isSettled: () => boolean;
  /** The model API, and what its models cost. */
  readonly model: { readonly upstream: ModelAPI; readonly prices: Prices };
  /** Has the gauges of the certificates. */
  readonly registry: Registry;
  readonly signal: AbortSignal;
}

export interface DoorPorts {
  readonly agent: number;
  readonly kube: number;
  readonly docker: number;
  /** Undefined without tripwires. */
  readonly canary?: number | undefined;
  readonly read: number;
}

export interface DoorServers {
  /** Opens all ports. @param host the interface of the doors; default: all */
  listen(host: string | undefined): Promise<DoorPorts>;
  /** Closes all ports, and cuts what does not end in time. Resolves when the outcomes are recorded. */
  close(): Promise<void>;
  /** Closes the connections to the API server and the Docker hosts. */
  disconnect(): void;
}

/** Creates all servers. None of them listens yet. @throws if a file that they need cannot be read */
export async function createDoorServers(options: DoorServersOptions): Promise<DoorServers> {
  const { environment, client, context, log, publicKey, registry, signal } = options;
  const { logger, live } = context;
  const certificate = { certFile: environment.OPLAB_TLS_CERT_FILE, keyFile: environment.OPLAB_TLS_KEY_FILE };
  const dockerEndpoints = await loadDockerEndpoints(environment.OPLAB_DOCKER_ENDPOINTS_FILE);
  watchExpiry({
    registry,
    logger,
    files: {
      gateway: certificate.certFile,
      ...Object.fromEntries(dockerEndpoints.map(({ name, tls }) => [`docker/${name}`, path.join(tls, 'tls.crt')])),
    },
    signal,
  });
  const apiServer = createApiServer(client.server);
  const dockerHosts = new DockerHosts(dockerEndpoints);
  const kube = kubeDoor(context, {
    apiServer,
    agentsNamespace: environment.OPLAB_AGENTS_NAMESPACE,
    audience: SANDBOX_AUDIENCE,
    concurrency: new Concurrency(CONCURRENT.kube),
  });
  const docker = dockerDoor(context, {
    hosts: dockerHosts,
    audience: SANDBOX_AUDIENCE,
    concurrency: new Concurrency(CONCURRENT.docker),
  });
  const servers: Servers = {
    agent: createTlsServer(certificate, agentPort(context, createAgentPort(options)), { logger, signal }),
    kube: doorServer(certificate, context, kube, { logger, signal }),
    // One direction of a stream may end first: docker attach answers after its input has ended.
    docker: doorServer(certificate, context, docker, { logger, signal, allowHalfOpen: true }),
    read: createReadApi({ log, publicKey, live, logger, signal }),
    canary: createCanaryHost(options),
  };
  return {
    listen: (host) => listenAll(options, servers, host),
    close: () => closeAll(servers),
    disconnect() {
      apiServer.close();
      dockerHosts.close();
    },
  };
}

interface Servers {
  readonly agent: Server;
  readonly kube: Server;
  readonly docker: Server;
  readonly read: Server;
  readonly canary: ReturnType<typeof canaryHost>;
  /** Exists once it listens. */
  admin?: Server;
}

function createAgentPort({ client, log, isSettled, model }: DoorServersOptions): AgentPort {
  return {
    audience: AGENT_AUDIENCE,
    client,
    concurrency: new Concurrency(CONCURRENT.agent),
    model: {
      ...model,
      reservations: log,
      isSettled,
      concurrency: new Concurrency(CONCURRENT.model),
    },
  };
}

function createCanaryHost({ environment, context }: DoorServersOptions): Servers['canary'] {
  const { tripwires, leases, logger } = context;
  return canaryHost({
    host: environment.OPLAB_CANARY_HOST,
    tripwires,
    attemptAt: (address) => leases.attemptAt(address),
    logger,
  });
}

/** A TLS server in front of one door, for requests and for upgrades. It does not listen yet. */
function doorServer<Wanted>(
  certificate: CertificateFiles,
  context: GatewayContext,
  door: Door<Wanted>,
  options: TlsServerOptions,
): Server {
  const server = createTlsServer(
    certificate,
    (request, response) => void serve(context, door, { type: 'request', request, response }),
    options,
  );
  server.on('upgrade', (request, socket, head) => {
    void serve(context, door, { type: 'upgrade', request, socket, head });
  });
  return server;
}

async function listenAll(
  { environment, context, log }: DoorServersOptions,
  servers: Servers,
  host: string | undefined,
): Promise<DoorPorts> {
  const ports = {
    agent: await listen(servers.agent, environment.OPLAB_AGENT_PORT, host),
    kube: await listen(servers.kube, environment.OPLAB_KUBE_PORT, host),
    docker: await listen(servers.docker, environment.OPLAB_DOCKER_PORT, host),
    canary:
      context.tripwires.secretName === undefined
        ? undefined
        : await listen(servers.canary, environment.OPLAB_CANARY_PORT, host),
    read: await listen(servers.read, environment.OPLAB_READ_PORT, '127.0.0.1'),
  };
  servers.admin = await startAdminServer({ log, logger: context.logger, path: environment.OPLAB_ADMIN_SOCKET });
  return ports;
}

async function closeAll({ canary, agent, kube, docker, read, admin }: Servers): Promise<void> {
  canary.close();
  const servers = [agent, kube, docker, read, ...(admin === undefined ? [] : [admin])];
  const done = servers.map(
    (server) =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  );
  // Short requests end by themselves. Streams are cut, which is recorded in the log.
  await Promise.race([Promise.all(done), new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS))]);
  for (const server of servers) server.closeAllConnections();
  await new Promise((resolve) => setTimeout(resolve, 100));
}
