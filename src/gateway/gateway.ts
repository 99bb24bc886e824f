// Puts the gateway together: the log, the watches and the doors, and the order of start and stop.

import path from 'node:path';
import { parseDays } from '../audit/retention.ts';
import { type AuditStore, openAuditLog } from '../audit/store.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { type HealthServer, startHealthServer } from '../observability/health.ts';
import type { Logger } from '../observability/logger.ts';
import { createRegistry, type Registry } from '../observability/metrics.ts';
import { AttemptTokens } from './attempt-tokens.ts';
import { BodyMemory, bodyMemoryLimits } from './body-memory.ts';
import { type ClassProbes, type ClassQuotas, createClassQuotas } from './class-quotas.ts';
import { loadDigestKey } from './digest-key.ts';
import { createDoorServers, type DoorPorts, type DoorServers } from './door-servers.ts';
import type { GatewayContext } from './doors/door.ts';
import { createModelAPI } from './doors/model/providers/create.ts';
import type { GatewayEnvironment } from './environment.ts';
import { observeGauges } from './gauges.ts';
import { Identities } from './identity.ts';
import { reportLogFailures } from './log-failures.ts';
import { createGatewayMetrics } from './metrics.ts';
import { ModelProbes } from './model-probe.ts';
import { loadPrices } from './prices.ts';
import { keepRetention } from './retention.ts';
import { createSessions, resumeSessions, type Sessions } from './sessions.ts';
import { readSigningKeys, type SigningKeys } from './signing-keys.ts';
import { createWatches, type Watches } from './watches.ts';

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
  readonly ports: DoorPorts & { readonly health: number };
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
  const { environment, logger, signal } = options;
  const keys = await readSigningKeys(environment);
  const retention = environment.OPLAB_AUDIT_RETENTION;
  const keepMs = retention === undefined ? undefined : parseDays(retention, 'OPLAB_AUDIT_RETENTION');
  const secret = await loadDigestKey(environment.OPLAB_AUDIT_KEY_FILE);
  const log = await openAuditLog({
    path: path.join(environment.OPLAB_DATA_DIR, 'audit.db'),
    digestKey: secret,
    limits: { bytes: environment.OPLAB_AUDIT_SESSION_BYTES, entries: environment.OPLAB_AUDIT_SESSION_ENTRIES },
  });
  try {
    const parts = await createParts(options, log, keys, secret);
    const health = await startParts(options, parts);
    // Doors open only now: before, an ended lease looked the same as one that is not seen yet.
    const ports = { ...(await parts.doors.listen(options.host)), health: health.port };
    startUpkeep(options, parts, keepMs);
    logger.info(ports, 'the gateway is ready');
    const closed = new Promise<void>((resolve) => {
      const shut = () => void close(parts, health, logger).finally(resolve);
      if (signal.aborted) shut();
      else signal.addEventListener('abort', shut, { once: true });
    });
    return { ports, log, notReady: () => findUnready(parts), closed };
  } catch (error) {
    await log.close();
    throw error;
  }
}

interface Parts {
  readonly log: AuditStore;
  readonly registry: Registry;
  readonly quotas: ClassQuotas;
  readonly sessions: Sessions;
  readonly watches: Watches;
  readonly doors: DoorServers;
  /** Reports the current failure of the log, if there is one, to all Incidents. */
  readonly reportLogFailure: () => void;
}

/** Creates all parts. From now on, they see what is appended to the log; nothing listens yet. */
async function createParts(
  { environment, client, logger, signal }: GatewayOptions,
  log: AuditStore,
  keys: SigningKeys,
  secret: Buffer,
): Promise<Parts> {
  const agentsNamespace = environment.OPLAB_AGENTS_NAMESPACE;
  const registry = createRegistry('gateway');
  const metrics = createGatewayMetrics(registry);
  const memory = new BodyMemory(bodyMemoryLimits(environment.OPLAB_BODY_MEMORY_BYTES));
  const model = {
    upstream: createModelAPI(environment, (secret) => log.addSecret(secret)),
    prices: await loadPrices(environment.OPLAB_PRICES_FILE, environment.OPLAB_PRICE_FACTOR),
  };
  const redact = (text: string) => log.redact(text);
  const probes: ClassProbes = (classes, onChange) => new ModelProbes({ ...model, classes, onChange, redact, signal });
  const quotas = createClassQuotas({ client, logger, probes, signal });
  const { dayQuota, classes, quotaClass } = quotas;
  const sessions = await createSessions({ environment, client, log, keys, secret, metrics, logger, signal });
  const { leases, budgets, status, tripwires, modelTroubles, live, inFlight, conversations, commands, abandoned } =
    sessions;
  const reportLogFailure = reportLogFailures({
    log,
    client,
    incidents: () => leases.incidents(),
    touch: (session) => status.touch(session, true),
    logger,
  });
  // With nothing awaited in between, no call is counted twice, and none is missed.
  await dayQuota.load(log);
  log.onAppend((entry) => {
    metrics.appends.inc({ kind: entry.kind });
    dayQuota.record(entry);
    sessions.appended(entry);
  });
  const watches = createWatches({ client, agentsNamespace, sessions, classes, logger });
  const context: GatewayContext = {
    log,
    leases,
    budgets,
    dayQuota,
    quotaClass,
    status,
    tripwires,
    modelTroubles,
    live,
    redact,
    inFlight,
    conversations,
    commands,
    memory,
    metrics,
    logger,
    identities: new Identities({ client, namespace: agentsNamespace }),
    attemptTokens: new AttemptTokens({ client, namespace: agentsNamespace }),
  };
  const doors = await createDoorServers({
    environment,
    client,
    context,
    log,
    publicKey: keys.signer.verifier.vkey,
    isSettled: () => abandoned.isSettled,
    model,
    registry,
    signal,
  });
  observeGauges({ metrics, log, dataDir: environment.OPLAB_DATA_DIR, sessions, memory, quotas });
  return { log, registry, quotas, sessions, watches, doors, reportLogFailure };
}

/** Starts all but the doors, and takes up what an earlier gateway left. */
async function startParts({ environment, host, signal }: GatewayOptions, parts: Parts): Promise<HealthServer> {
  const { log, registry, quotas, sessions, watches, reportLogFailure } = parts;
  const { signer } = sessions;
  const health = await startHealthServer({
    port: environment.OPLAB_HEALTH_PORT,
    ...(host === undefined ? {} : { host }),
    ready: () => findUnready(parts),
    warning: () => (signer.broken === undefined ? log.failure : `the audit log is broken: ${signer.broken}`),
    registry,
  });
  // Nothing is added to the log before it was compared with what was signed.
  await signer.start().catch(async (error: unknown) => {
    await health.close();
    throw error;
  });
  await watches.start(signal);
  quotas.start();
  reportLogFailure();
  await resumeSessions(sessions);
  return health;
}

/** Deletes sessions that are older than the retention, and seals those of deleted Incidents. */
function startUpkeep({ logger, signal }: GatewayOptions, { log, sessions }: Parts, keepMs: number | undefined): void {
  void keepRetention({ log, keepMs, isEvidence: () => sessions.signer.broken !== undefined, logger, signal });
  sessions.lifecycle.sealOrphans().catch((error: unknown) => {
    logger.warn(
      { error: errorMessage(error) },
      'sessions of deleted Incidents could not be sealed; the next start tries again',
    );
  });
}

/** Why the gateway is not ready; undefined when it is ready. */
function findUnready({ log, sessions, watches }: Parts): string | undefined {
  // While the volume is full, claims still come in through the doors.
  if (log.failure !== undefined && log.failureDetails?.acceptsClosing !== true) {
    return `the audit log cannot be written: ${log.failure}`;
  }
  return sessions.signer.notReady ?? watches.notSynced;
}

async function close({ doors, sessions, log }: Parts, health: HealthServer, logger: Logger): Promise<void> {
  try {
    await doors.close();
    await sessions.lifecycle.idle();
    const written = Promise.all([sessions.status.flushAll(), sessions.signer.flush()]);
    await Promise.race([written, new Promise((resolve) => setTimeout(resolve, 3000))]);
    await health.close();
    await log.close();
    logger.info('the gateway has stopped');
  } finally {
    doors.disconnect();
  }
}
