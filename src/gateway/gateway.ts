// Puts the gateway together: the log, the watches and the doors, and the order of start and stop.

import type { Server } from 'node:http';
import path from 'node:path';
import { type AgentClass, agentClass as agentClassSchema } from '../api/agent-class.ts';
import { AGENT_AUDIENCE, SANDBOX_AUDIENCE } from '../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../api/incident.ts';
import { findCondition, isTrue } from '../api/meta.ts';
import { resultParams } from '../audit/entry-params.ts';
import { readFreeBytes } from '../audit/free-space.ts';
import { isSeal } from '../audit/hash-chain.ts';
import { parseDays } from '../audit/retention.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { readKeyFile } from '../environment.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isNotFound } from '../kube/errors.ts';
import { Reflector } from '../kube/reflector.ts';
import { AGENT_CLASSES, INCIDENTS, PODS } from '../kube/resources.ts';
import { watchExpiry } from '../net/certificate-expiry.ts';
import type { CertificateFiles } from '../net/certificate-files.ts';
import { createTlsServer, listen, type TlsServerOptions } from '../net/tls-server.ts';
import { type HealthServer, startHealthServer } from '../observability/health.ts';
import type { Logger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { AbandonedCalls } from './abandoned-calls.ts';
import { startAdminServer } from './admin-socket.ts';
import { AnchorGuard } from './anchor-guard.ts';
import { AttemptTokens } from './attempt-tokens.ts';
import { recordAuditEvent } from './audit-event.ts';
import { BodyMemory, bodyMemoryLimits } from './body-memory.ts';
import { Budgets } from './budget.ts';
import { canaryHost } from './canary-host.ts';
import { ChangeBook } from './changes.ts';
import { ClassStatusWriter, quotaClass } from './class-status.ts';
import { Concurrency } from './concurrency.ts';
import { DayQuota } from './day-quota.ts';
import { loadDigestKey } from './digest-key.ts';
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
import { reportLogFailures } from './log-failures.ts';
import { LogSigner } from './log-signer.ts';
import { createGatewayMetrics } from './metrics.ts';
import { loadPrices } from './prices.ts';
import { AnchorConfigMap } from './published-anchor.ts';
import { createReadApi } from './read-api/server.ts';
import { keepRetention } from './retention.ts';
import { RunningCommands } from './running-commands.ts';
import { readSigningKeys } from './signing-keys.ts';
import { AUDIT_BROKEN, describeUnexplained, UNEXPLAINED_WRITE } from './status-document.ts';
import { StatusWriter } from './status-writer.ts';
import { TokenBucket } from './token-bucket.ts';
import { TRIPWIRE_TOUCHED, Tripwires } from './tripwires.ts';

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
    /** Undefined without tripwires. */
    readonly canary?: number | undefined;
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
  const keys = await readSigningKeys(environment);

  const retention = environment.OPLAB_AUDIT_RETENTION;
  const keepMs = retention === undefined ? undefined : parseDays(retention, 'OPLAB_AUDIT_RETENTION');
  const log = await openAuditLog({
    path: path.join(environment.OPLAB_DATA_DIR, 'audit.db'),
    digestKey: await loadDigestKey(environment.OPLAB_AUDIT_KEY_FILE),
    limits: { bytes: environment.OPLAB_AUDIT_SESSION_BYTES, entries: environment.OPLAB_AUDIT_SESSION_ENTRIES },
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
    const signer: LogSigner = new LogSigner({
      log,
      configMap: new AnchorConfigMap(client, environment.OPLAB_SYSTEM_NAMESPACE),
      keys,
      logger,
      isBroken: (session) => guard.reason(session) !== undefined,
      onBroken: () => {
        leases.sweep();
        for (const incident of leases.incidents()) status.touch(incident.metadata.uid, true);
      },
      onSessionBroken: (session) => {
        leases.sweep();
        if (leases.incident(session) !== undefined) status.touch(session, true);
      },
      onWrite: (result) => metrics.checkpointWrites.inc({ result }),
      signal,
    });
    const guard: AnchorGuard = new AnchorGuard({
      log,
      logBreak: () => signer.broken,
      sessionBreak: (session) => signer.reason(session),
      onBroken: (incident, message) => {
        const { namespace, name, uid } = incident.metadata;
        logger.error({ namespace, name, session: uid, reason: AUDIT_BROKEN }, message);
        recordAuditEvent(client, logger, incident, AUDIT_BROKEN, message);
        leases.sweep();
        status.touch(uid, true);
      },
    });
    const commands = new RunningCommands({
      log,
      onUnexplained: (session, write) => {
        const message = describeUnexplained(write);
        logger.error({ session, reason: UNEXPLAINED_WRITE }, message);
        leases.sweep();
        status.touch(session, true);
        const incident = leases.incident(session);
        // After a restart, the write is read again, but was reported before.
        if (findCondition(incident?.status?.conditions, CONDITIONS.WritesExplained) !== undefined) return;
        metrics.unexplained.inc();
        if (incident !== undefined) recordAuditEvent(client, logger, incident, UNEXPLAINED_WRITE, message);
      },
    });
    const tripwires = new Tripwires({
      key: await readKeyFile('OPLAB_TRIPWIRE_KEY_FILE', environment.OPLAB_TRIPWIRE_KEY_FILE),
      secretName: environment.OPLAB_CANARY_SECRET,
      log,
      logger,
      onTouch: (session, tripwire, message) => {
        leases.sweep();
        metrics.tripwires.inc({ tripwire });
        const incident = leases.incident(session);
        logger.error({ session, reason: TRIPWIRE_TOUCHED }, message);
        if (incident !== undefined) recordAuditEvent(client, logger, incident, TRIPWIRE_TOUCHED, message);
      },
      onRecord: (session) => status.touch(session, true),
    });
    const leases: LeaseRegistry = new LeaseRegistry({
      limitReached: (session) => budgets.limitReached(session),
      auditBroken: (session) => guard.reason(session) ?? signer.reason(session),
      unexplained: (session) => {
        const write = commands.knownUnexplained(session);
        return write === undefined ? undefined : describeUnexplained(write);
      },
      tripwireTouched: (session) => tripwires.touched(session),
      onCut: () => metrics.streamsCut.inc(),
      signal,
    });
    const status: StatusWriter = new StatusWriter({
      client,
      log,
      budgets,
      changes,
      commands,
      guard,
      tripwires,
      logFailure: () => log.failureDetails,
      incident: (session) => leases.incident(session),
      bucket: new TokenBucket(environment.OPLAB_STATUS_WRITES_PER_SECOND),
      logger,
      onWrite: (result) => metrics.statusWrites.inc({ result }),
      signal,
    });
    const reportLogFailure = reportLogFailures({
      log,
      client,
      incidents: () => leases.incidents(),
      touch: (session) => status.touch(session, true),
      logger,
    });
    const abandoned = new AbandonedCalls({
      log,
      broken: (session) => guard.reason(session) ?? signer.reason(session),
      onRecord: (session) => {
        budgets.forget(session);
        status.touch(session);
      },
      logger,
      signal,
    });
    const lifecycle = new LifecycleRecorder({
      log,
      inFlight,
      checkAnchor: (incident) => guard.check(incident),
      brokenReason: (session) => guard.reason(session) ?? signer.reason(session),
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
      commands.appended(entry);
      if (entry.kind === 'tool_result' && call !== undefined) live.end(entry.session, call);
      if (isSeal(entry)) live.forget(entry.session);
      status.touch(entry.session);
      signer.appended(entry);
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
        commands.forget(event.object.metadata.uid);
        guard.forget(event.object.metadata.uid);
        tripwires.forget(event.object.metadata.uid);
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
      // While the volume is full, claims still come in through the doors.
      if (log.failure !== undefined && log.failureDetails?.acceptsClosing !== true)
        return `the audit log cannot be written: ${log.failure}`;
      if (signer.notReady !== undefined) return signer.notReady;
      if (!incidents.isSynced) return 'the Incidents are not listed yet';
      if (!pods.isSynced) return 'the agent pods are not listed yet';
      if (!classes.isSynced) return 'the AgentClasses are not listed yet';
      return undefined;
    };
    watchExpiry({
      registry,
      logger,
      files: {
        gateway: environment.OPLAB_TLS_CERT_FILE,
        ...Object.fromEntries(dockerEndpoints.map(({ name, tls }) => [`docker/${name}`, path.join(tls, 'tls.crt')])),
      },
      signal,
    });
    metrics.observe('leases', 'Attempts with a live lease.', () => leases.live);
    metrics.observe('streams', 'Streams held open by a lease.', () => leases.held);
    metrics.observe('body_bytes', 'Bytes of bodies kept in memory by all doors.', () => memory.total);
    metrics.observe('audit_healthy', '1 while the audit log can be written.', () =>
      log.failure === undefined ? 1 : 0,
    );
    metrics.observe('audit_full', '1 while the audit log accepts no new work, because its volume is full.', () =>
      log.failureDetails?.isFull === true ? 1 : 0,
    );
    metrics.observe('audit_free_bytes', 'Bytes that are free on the volume of the audit log.', () =>
      readFreeBytes(environment.OPLAB_DATA_DIR),
    );
    metrics.observe('audit_broken', '1 while the audit log as a whole contradicts its signed checkpoint.', () =>
      signer.broken === undefined ? 0 : 1,
    );
    metrics.observe(
      'audit_broken_sessions',
      "Sessions whose audit log contradicts their Incident's status or what was signed.",
      () => new Set([...guard.brokenSessions, ...signer.brokenSessions]).size,
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
      tripwires,
      live,
      inFlight,
      commands,
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
    const canaryServer = canaryHost({
      host: environment.OPLAB_CANARY_HOST,
      tripwires,
      attemptAt: (address) => leases.attemptAt(address),
      logger,
    });
    const readServer = createReadApi({ log, publicKey: keys.signer.verifier.vkey, live, logger, signal });

    const health = await startHealthServer({
      port: environment.OPLAB_HEALTH_PORT,
      ...(options.host === undefined ? {} : { host: options.host }),
      ready: notReady,
      warning: () => (signer.broken === undefined ? log.failure : `the audit log is broken: ${signer.broken}`),
      registry,
    });
    // Nothing is added to the log before it was compared with what was signed.
    await signer.start().catch(async (error: unknown) => {
      await health.close();
      throw error;
    });
    incidents.start(signal);
    pods.start(signal);
    classes.start(signal);
    await Promise.all([incidents.synced(), pods.synced(), classes.synced()]);
    for (const agentClass of classes.list()) {
      dayQuota.restore(quotaClass(agentClass.metadata.name, agentClass), agentClass.status?.day);
    }
    void classStatus.run();
    reportLogFailure();
    for (const incident of leases.incidents()) {
      const { conditions } = incident.status ?? {};
      if (isTrue(conditions, CONDITIONS.Finished)) continue;
      await tripwires.load(incident);
      const broken = await guard.check(incident);
      // A write without explanation may have been recorded just before an earlier gateway stopped.
      if (broken === undefined) await commands.unexplained(incident.metadata.uid);
      // The log was put back, or can be written again: the next write removes the condition.
      const troubles = [CONDITIONS.AuditIntact, CONDITIONS.AuditWritable];
      if (broken === undefined && troubles.some((type) => findCondition(conditions, type) !== undefined)) {
        status.touch(incident.metadata.uid, true);
      }
    }
    // A log that was set back would otherwise be continued before that is seen.
    await abandoned.settle();
    // Doors open only now: before, an ended lease looked the same as one that is not seen yet.
    const agent = await listen(agentServer, environment.OPLAB_AGENT_PORT, options.host);
    const kubePort = await listen(kubeServer, environment.OPLAB_KUBE_PORT, options.host);
    const dockerPort = await listen(dockerServer, environment.OPLAB_DOCKER_PORT, options.host);
    const canary =
      tripwires.secretName === undefined
        ? undefined
        : await listen(canaryServer, environment.OPLAB_CANARY_PORT, options.host);
    const read = await listen(readServer, environment.OPLAB_READ_PORT, '127.0.0.1');
    const admin = await startAdminServer({ log, logger, path: environment.OPLAB_ADMIN_SOCKET });
    void keepRetention({ log, keepMs, isEvidence: () => signer.broken !== undefined, logger, signal });
    lifecycle.sealOrphans().catch((error: unknown) => {
      logger.warn(
        { error: errorMessage(error) },
        'sessions of deleted Incidents could not be sealed; the next start tries again',
      );
    });
    logger.info(
      { agent, kube: kubePort, docker: dockerPort, canary, read, health: health.port },
      'the gateway is ready',
    );

    const closed = new Promise<void>((resolve) => {
      const shut = () => {
        void close({
          servers: [agentServer, kubeServer, dockerServer, readServer, admin],
          canaryServer,
          health,
          status,
          lifecycle,
          signer,
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
    return {
      ports: { agent, kube: kubePort, docker: dockerPort, canary, read, health: health.port },
      log,
      notReady,
      closed,
    };
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
  canaryServer: { close(): unknown };
  health: HealthServer;
  status: StatusWriter;
  lifecycle: LifecycleRecorder;
  signer: LogSigner;
  log: AuditStore;
  logger: Logger;
}): Promise<void> {
  const { servers, canaryServer, health, status, lifecycle, signer, log, logger } = parts;
  canaryServer.close();
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
  const written = Promise.all([status.flushAll(), signer.flush()]);
  await Promise.race([written, new Promise((resolve) => setTimeout(resolve, 3000))]);
  await health.close();
  await log.close();
  logger.info('the gateway has stopped');
}
