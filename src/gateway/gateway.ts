// Puts the gateway together: the log, the watches and the doors, and the order of start and stop.

import type { Server } from 'node:http';
import path from 'node:path';
import { type AgentClass, agentClass as agentClassSchema } from '../api/agent-class.ts';
import { AGENT_AUDIENCE, SANDBOX_AUDIENCE } from '../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../api/incident.ts';
import { findCondition, isTrue } from '../api/meta.ts';
import { resultParams } from '../audit/entry-params.ts';
import { isSeal } from '../audit/hash-chain.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { Reflector } from '../kube/reflector.ts';
import { AGENT_CLASSES, INCIDENTS, PODS } from '../kube/resources.ts';
import type { CertificateFiles } from '../net/certificate-files.ts';
import { createTlsServer, listen, type TlsServerOptions } from '../net/tls-server.ts';
import { type HealthServer, startHealthServer } from '../observability/health.ts';
import type { Logger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { AbandonedCalls } from './abandoned-calls.ts';
import { AnchorGuard } from './anchor-guard.ts';
import { AttemptTokens } from './attempt-tokens.ts';
import { recordAuditBroken } from './audit-broken-event.ts';
import { BodyMemory, bodyMemoryLimits } from './body-memory.ts';
import { Budgets } from './budget.ts';
import { ChangeBook } from './changes.ts';
import { ClassStatusWriter, quotaClass } from './class-status.ts';
import { Concurrency } from './concurrency.ts';
import { DayQuota } from './day-quota.ts';
import { agentPort } from './doors/agent-port.ts';
import { DockerHosts } from './doors/docker/docker-host.ts';
import { dockerDoor } from './doors/docker/door.ts';
import { loadDockerEndpoints } from './doors/docker/endpoints.ts';
import type { Door, GatewayContext } from './doors/door.ts';
import { serve } from './doors/front.ts';
import { createApiServer } from './doors/kube/api-server.ts';
import { kubeDoor } from './doors/kube/door.ts';
import { ModelUpstream } from './doors/model/upstream.ts';
import type { GatewayEnvironment } from './environment.ts';
import { Identities } from './identity.ts';
import { InFlight } from './in-flight.ts';
import { type AgentPod, agentPod, LeaseRegistry } from './lease-registry.ts';
import { LifecycleRecorder } from './lifecycle-recorder.ts';
import { LiveOutput } from './live-output.ts';
import { createGatewayMetrics } from './metrics.ts';
import { loadPrices } from './prices.ts';
import { createReadApi } from './read-api/server.ts';
import { AUDIT_BROKEN } from './status-document.ts';
import { StatusWriter } from './status-writer.ts';
import { TokenBucket } from './token-bucket.ts';

/** Concurrent requests per Incident. A single kubectl holds several watches. */
const CONCURRENT = { agent: 32, model: 8, kube: 128, docker: 64 } as const;

export interface GatewayOptions {
  readonly environment: GatewayEnvironment;
  readonly client: KubeClient;
  readonly logger: Logger;
  /** Stops the gateway when aborted. */
  readonly signal: AbortSignal;
  /** The interface of the doors and of health; default: all. The read API is on the loopback. */
  readonly host?: string;
}

export interface Gateway {
  readonly ports: {
    readonly agent: number;
    readonly kube: number;
    readonly docker: number;
    readonly read: number;
    readonly health: number;
  };
  readonly log: AuditStore;
  /** Why the gateway is not ready; undefined when it is ready. */
  notReady(): string | undefined;
  /** Resolves when everything is closed, after the signal. */
  readonly closed: Promise<void>;
}

/**
 * Starts all doors. Resolves when they listen and the watches are in sync.
 * @throws if the gateway cannot start
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { environment, client, logger, signal } = options;
  const registry = createRegistry('gateway');
  const metrics = createGatewayMetrics(registry);
  const namespace = environment.OPLAB_AGENTS_NAMESPACE;

  const log = await openAuditLog({ path: path.join(environment.OPLAB_DATA_DIR, 'audit.db') });
  log.onFailureChange((failure) => {
    if (failure === undefined) logger.info('the audit log accepts entries again');
    else logger.error({ failure }, 'the audit log cannot be written: all doors are closed');
  });
  try {
    const dayQuota = new DayQuota({
      onChange: (_name, isUrgent) => {
        if (isUrgent) classStatus.hurry();
      },
    });
    const classes = new Reflector<AgentClass>({
      client,
      resource: AGENT_CLASSES,
      parse: (object) => agentClassSchema.parse(object),
      // A higher quota may apply at once.
      onEvent: ({ object, previous }) => {
        if (previous?.metadata.generation !== object.metadata.generation) classStatus.hurry();
      },
      logger,
    });
    const classStatus: ClassStatusWriter = new ClassStatusWriter({
      client,
      quota: dayQuota,
      classes: () => classes.list(),
      logger,
      signal,
    });
    const prices = await loadPrices(environment.OPLAB_PRICES_FILE);
    const dockerEndpoints = await loadDockerEndpoints(environment.OPLAB_DOCKER_ENDPOINTS_FILE);
    const budgets = new Budgets(log);
    const changes = new ChangeBook(log);
    const inFlight = new InFlight();
    const memory = new BodyMemory(bodyMemoryLimits(environment.OPLAB_BODY_MEMORY_BYTES));
    const guard = new AnchorGuard({
      log,
      onBroken: (incident, message) => {
        const { namespace, name, uid } = incident.metadata;
        logger.error({ namespace, name, session: uid, reason: AUDIT_BROKEN }, message);
        recordAuditBroken(client, logger, incident, message);
        leases.sweep();
        status.touch(uid, true);
      },
    });
    const leases: LeaseRegistry = new LeaseRegistry({
      limitReached: (session) => budgets.limitReached(session),
      auditBroken: (session) => guard.reason(session),
      onCut: () => metrics.streamsCut.inc(),
      signal,
    });
    const status: StatusWriter = new StatusWriter({
      client,
      log,
      budgets,
      changes,
      guard,
      incident: (session) => leases.incident(session),
      bucket: new TokenBucket(environment.OPLAB_STATUS_WRITES_PER_SECOND),
      logger,
      onWrite: (result) => metrics.statusWrites.inc({ result }),
      signal,
    });
    const charged = new Set<string>();
    const abandoned = new AbandonedCalls({
      log,
      onRecord: (session) => {
        charged.add(session);
        budgets.forget(session);
        status.touch(session);
      },
      logger,
      signal,
    });
    await abandoned.settle();
    const lifecycle = new LifecycleRecorder({
      log,
      inFlight,
      checkAnchor: (incident) => guard.check(incident),
      incident: (session) => leases.incident(session),
      isGone: async ({ namespace, name, uid }) => {
        try {
          return (await client.get(INCIDENTS, { namespace, name })).metadata.uid !== uid;
        } catch (error) {
          if (isNotFound(error)) return true;
          throw error;
        }
      },
      onRecord: (session, urgent) => status.touch(session, urgent),
      logger,
      signal,
    });
    const live = new LiveOutput((text) => log.redact(text));
    // With nothing awaited in between, no call is counted twice, and none is missed.
    await dayQuota.load(log);
    log.onAppend((entry) => {
      metrics.appends.inc({ kind: entry.kind });
      dayQuota.record(entry);
      const { call } = resultParams.safeParse(entry.params).data ?? {};
      if (entry.kind === 'tool_result' && call !== undefined) live.end(entry.session, call);
      if (isSeal(entry)) live.forget(entry.session);
      status.touch(entry.session);
    });

    const incidents = new Reflector<Incident>({
      client,
      resource: INCIDENTS,
      parse: (object) => incidentSchema.parse(object),
      // Leases first, so that the streams are closed before the others see the change.
      onEvent: (event) => {
        leases.incidentChanged(event);
        lifecycle.incidentChanged(event);
        if (event.type !== 'deleted') return;
        budgets.forget(event.object.metadata.uid);
        changes.forget(event.object.metadata.uid);
        guard.forget(event.object.metadata.uid);
        live.forget(event.object.metadata.uid);
      },
      logger,
    });
    const pods = new Reflector<AgentPod>({
      client,
      resource: PODS,
      namespace,
      parse: (object) => agentPod.parse(object),
      onEvent: (event) => leases.podChanged(event),
      logger,
    });
    const notReady = () => {
      if (log.failure !== undefined) return `the audit log cannot be written: ${log.failure}`;
      if (!incidents.isSynced) return 'the Incidents are not listed yet';
      if (!pods.isSynced) return 'the agent pods are not listed yet';
      if (!classes.isSynced) return 'the AgentClasses are not listed yet';
      return undefined;
    };
    metrics.observe('leases', 'Attempts with a live lease.', () => leases.live);
    metrics.observe('streams', 'Streams held open by a lease.', () => leases.held);
    metrics.observe('body_bytes', 'Bytes of bodies kept in memory by all doors.', () => memory.total);
    metrics.observe('audit_healthy', '1 while the audit log can be written.', () =>
      log.failure === undefined ? 1 : 0,
    );
    metrics.observe(
      'audit_broken_sessions',
      "Sessions whose audit log contradicts their Incident's status.",
      () => guard.count,
    );

    metrics.observeClasses(() =>
      classes.list().map((agentClass) => {
        const { name, quota } = quotaClass(agentClass.metadata.name, agentClass);
        return { name, quota, usage: dayQuota.usage(quotaClass(name, agentClass)) };
      }),
    );

    const context: GatewayContext = {
      log,
      identities: new Identities({ client, namespace }),
      leases,
      budgets,
      dayQuota,
      quotaClass: (name) => quotaClass(name, classes.get(name)),
      attemptTokens: new AttemptTokens({ client, namespace }),
      status,
      live,
      inFlight,
      memory,
      metrics,
      logger,
    };
    const apiServer = createApiServer(client.server);
    const dockerHosts = new DockerHosts(dockerEndpoints);
    const kube = kubeDoor(context, {
      apiServer,
      agentsNamespace: namespace,
      audience: SANDBOX_AUDIENCE,
      concurrency: new Concurrency(CONCURRENT.kube),
    });
    const docker = dockerDoor(context, {
      hosts: dockerHosts,
      audience: SANDBOX_AUDIENCE,
      concurrency: new Concurrency(CONCURRENT.docker),
    });
    const certificate = { certFile: environment.OPLAB_TLS_CERT_FILE, keyFile: environment.OPLAB_TLS_KEY_FILE };
    const agentServer = createTlsServer(
      certificate,
      agentPort(context, {
        audience: AGENT_AUDIENCE,
        client,
        concurrency: new Concurrency(CONCURRENT.agent),
        model: {
          upstream: new ModelUpstream({
            baseURL: new URL(environment.OPLAB_UPSTREAM_URL),
            keyFile: environment.OPLAB_MODEL_KEY_FILE,
            caFile: environment.OPLAB_UPSTREAM_CA_FILE,
            proxy: environment.OPLAB_UPSTREAM_PROXY,
            onKey: (key) => log.addSecret(key),
          }),
          prices,
          reservations: log,
          isSettled: () => abandoned.isSettled,
          concurrency: new Concurrency(CONCURRENT.model),
        },
      }),
      { logger, signal },
    );
    const kubeServer = doorServer(certificate, context, kube, { logger, signal });
    // One direction of a stream may end first: docker attach answers after its input has ended.
    const dockerServer = doorServer(certificate, context, docker, { logger, signal, allowHalfOpen: true });
    const readServer = createReadApi({ log, live, logger, signal });

    const health = await startHealthServer({
      port: environment.OPLAB_HEALTH_PORT,
      ...(options.host === undefined ? {} : { host: options.host }),
      ready: notReady,
      registry,
    });
    incidents.start(signal);
    pods.start(signal);
    classes.start(signal);
    await Promise.all([incidents.synced(), pods.synced(), classes.synced()]);
    for (const agentClass of classes.list()) {
      dayQuota.restore(quotaClass(agentClass.metadata.name, agentClass), agentClass.status?.day);
    }
    void classStatus.run();
    // Charges from before the Incidents were known are not in their status yet.
    for (const session of charged) status.touch(session);
    for (const incident of leases.incidents()) {
      const { conditions } = incident.status ?? {};
      if (isTrue(conditions, CONDITIONS.Finished)) continue;
      const broken = await guard.check(incident);
      // The log was put back: the next write removes the condition.
      if (broken === undefined && findCondition(conditions, CONDITIONS.AuditIntact) !== undefined) {
        status.touch(incident.metadata.uid, true);
      }
    }
    // Doors open only now: before, an ended lease looked the same as one that is not seen yet.
    const agent = await listen(agentServer, environment.OPLAB_AGENT_PORT, options.host);
    const kubePort = await listen(kubeServer, environment.OPLAB_KUBE_PORT, options.host);
    const dockerPort = await listen(dockerServer, environment.OPLAB_DOCKER_PORT, options.host);
    const read = await listen(readServer, environment.OPLAB_READ_PORT, '127.0.0.1');
    lifecycle.sealOrphans().catch((error: unknown) => {
      logger.warn(
        { error: errorMessage(error) },
        'sessions of deleted Incidents could not be sealed; the next start tries again',
      );
    });
    logger.info({ agent, kube: kubePort, docker: dockerPort, read, health: health.port }, 'the gateway is ready');

    const closed = new Promise<void>((resolve) => {
      const shut = () => {
        void close({
          servers: [agentServer, kubeServer, dockerServer, readServer],
          health,
          status,
          lifecycle,
          log,
          logger,
        })
          .finally(() => {
            apiServer.close();
            dockerHosts.close();
          })
          .finally(resolve);
      };
      if (signal.aborted) shut();
      else signal.addEventListener('abort', shut, { once: true });
    });
    return { ports: { agent, kube: kubePort, docker: dockerPort, read, health: health.port }, log, notReady, closed };
  } catch (error) {
    await log.close();
    throw error;
  }
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

/** How long open requests may take to record their outcome, in milliseconds. */
const LAST_WORDS_MS = 1500;

async function close(parts: {
  servers: readonly Server[];
  health: HealthServer;
  status: StatusWriter;
  lifecycle: LifecycleRecorder;
  log: AuditStore;
  logger: Logger;
}): Promise<void> {
  const { servers, health, status, lifecycle, log, logger } = parts;
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
  await lifecycle.idle();
  await Promise.race([status.flushAll(), new Promise((resolve) => setTimeout(resolve, 3000))]);
  await health.close();
  await log.close();
  logger.info('the gateway has stopped');
}
