// What ends the leases of a session for good: its log is broken, no command explains one of its
// writes, or it touched a tripwire. Reports each such breach to whoever runs the operator.

import { CONDITIONS, type Incident } from '../api/incident.ts';
import { findCondition } from '../api/meta.ts';
import type { AuditStore } from '../audit/store.ts';
import { readKeyFile } from '../environment.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Logger } from '../observability/logger.ts';
import { AnchorGuard } from './anchor-guard.ts';
import { recordAuditEvent } from './audit-event.ts';
import type { GatewayEnvironment } from './environment.ts';
import type { LeaseRegistry } from './lease-registry.ts';
import { LogSigner } from './log-signer.ts';
import type { GatewayMetrics } from './metrics.ts';
import { AnchorConfigMap } from './published-anchor.ts';
import { RunningCommands } from './running-commands.ts';
import type { SigningKeys } from './signing-keys.ts';
import { AUDIT_BROKEN, describeUnexplained, UNEXPLAINED_WRITE } from './status-document.ts';
import type { StatusWriter } from './status-writer.ts';
import { TRIPWIRE_TOUCHED, Tripwires } from './tripwires.ts';

/** What a breach ends, and where it shows. */
export interface BreachTargets {
  readonly leases: Pick<LeaseRegistry, 'sweep' | 'incident' | 'incidents'>;
  readonly status: Pick<StatusWriter, 'touch'>;
}

export interface SessionGuardsOptions {
  readonly environment: GatewayEnvironment;
  readonly client: KubeClient;
  readonly log: AuditStore;
  readonly keys: SigningKeys;
  readonly metrics: GatewayMetrics;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** A function, because leases and status are created from the guards. */
  readonly targets: () => BreachTargets;
}

export interface SessionGuards {
  /** Compares the log as a whole with what was signed about it. */
  readonly signer: LogSigner;
  /** Compares the log of a session with the status of its Incident. */
  readonly guard: AnchorGuard;
  readonly commands: RunningCommands;
  readonly tripwires: Tripwires;
  /** Why the log of a session is broken; undefined if no break is known. */
  brokenReason(session: string): string | undefined;
}

/** @throws if the key of the tripwires cannot be read */
export async function createSessionGuards(options: SessionGuardsOptions): Promise<SessionGuards> {
  const { environment, log } = options;
  const tripwireKey = await readKeyFile('OPLAB_TRIPWIRE_KEY_FILE', environment.OPLAB_TRIPWIRE_KEY_FILE);
  const signer: LogSigner = createSigner(options, (session) => guard.reason(session) !== undefined);
  const guard: AnchorGuard = new AnchorGuard({
    log,
    logBreak: () => signer.broken,
    sessionBreak: (session) => signer.reason(session),
    onBroken: (incident, message) => {
      const session = incident.metadata.uid;
      reportBreach(options, { session, incident, reason: AUDIT_BROKEN, message });
      options.targets().status.touch(session, true);
    },
  });
  return {
    signer,
    guard,
    commands: createRunningCommands(options),
    tripwires: createTripwires(options, tripwireKey),
    brokenReason: (session) => guard.reason(session) ?? signer.reason(session),
  };
}

function createSigner(options: SessionGuardsOptions, isBroken: (session: string) => boolean): LogSigner {
  const { environment, client, log, keys, metrics, logger, signal, targets } = options;
  return new LogSigner({
    log,
    configMap: new AnchorConfigMap(client, environment.OPLAB_SYSTEM_NAMESPACE, environment.OPLAB_AUDIT_ANCHOR),
    keys,
    logger,
    isBroken,
    onBroken: () => {
      const { leases, status } = targets();
      leases.sweep();
      for (const incident of leases.incidents()) status.touch(incident.metadata.uid, true);
    },
    onSessionBroken: (session) => {
      const { leases, status } = targets();
      leases.sweep();
      if (leases.incident(session) !== undefined) status.touch(session, true);
    },
    onWrite: (result) => metrics.checkpointWrites.inc({ result }),
    signal,
  });
}

function createRunningCommands(options: SessionGuardsOptions): RunningCommands {
  const { log, metrics, targets } = options;
  return new RunningCommands({
    log,
    onUnexplained: (session, write) => {
      const { leases, status } = targets();
      const incident = leases.incident(session);
      // After a restart, the write is read again, but was reported before.
      const isKnown = findCondition(incident?.status?.conditions, CONDITIONS.WritesExplained) !== undefined;
      const message = describeUnexplained(write);
      reportBreach(options, { session, incident, reason: UNEXPLAINED_WRITE, message, isKnown });
      status.touch(session, true);
      if (!isKnown) metrics.unexplained.inc();
    },
  });
}

function createTripwires(options: SessionGuardsOptions, key: string | undefined): Tripwires {
  const { environment, log, metrics, logger, targets } = options;
  return new Tripwires({
    key,
    secretName: environment.OPLAB_CANARY_SECRET,
    log,
    logger,
    onTouch: (session, tripwire, message) => {
      const incident = targets().leases.incident(session);
      reportBreach(options, { session, incident, reason: TRIPWIRE_TOUCHED, message });
      metrics.tripwires.inc({ tripwire });
    },
    onRecord: (session) => targets().status.touch(session, true),
  });
}

interface Breach {
  readonly session: string;
  /** Undefined if it no longer exists. */
  readonly incident: Incident | undefined;
  readonly reason: string;
  readonly message: string;
  /** An earlier gateway has recorded the event. */
  readonly isKnown?: boolean;
}

/** Cuts the session's streams, and says why in the process's log and in an event of its Incident. */
function reportBreach(
  { client, logger, targets }: SessionGuardsOptions,
  { session, incident, reason, message, isKnown = false }: Breach,
): void {
  const { namespace, name } = incident?.metadata ?? {};
  logger.error({ namespace, name, session, reason }, message);
  targets().leases.sweep();
  if (incident !== undefined && !isKnown) recordAuditEvent(client, logger, incident, reason, message);
}
