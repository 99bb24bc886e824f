// The controller: caches, the work queue, the sweep, and the leader lease. Composition only.

import { type AgentClass, agentClass as agentClassSchema } from '../api/agent-class.ts';
import { LABEL_INCIDENT_UID, LABEL_MANAGED_BY, MANAGED_BY } from '../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../api/incident.ts';
import { isTrue } from '../api/meta.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { LeaderLease } from '../kube/leader-lease.ts';
import type { Log } from '../kube/log.ts';
import { objectKey } from '../kube/object.ts';
import { Reflector } from '../kube/reflector.ts';
import { AGENT_CLASSES, INCIDENTS, PODS } from '../kube/resources.ts';
import { WorkQueue } from '../kube/work-queue.ts';
import { pause } from '../net/retry.ts';
import { IncidentOpener } from './alarm/incident-opener.ts';
import { CertificateRenewer, type RenewalOptions } from './certificates/renewer.ts';
import { ClassChecks } from './class-checks.ts';
import { eventRecorder } from './incident/events.ts';
import { sweepOrphans } from './incident/orphan-sweep.ts';
import { isWorking } from './incident/queue.ts';
import { IncidentReconciler } from './incident/reconcile.ts';
import type { IncidentCaches, ReconcilerDeps } from './incident/reconciler-deps.ts';
import { type Installation, ownNamespaces } from './installation.ts';
import { Monitoring } from './monitor/monitoring.ts';
import { deleteOrphanedReadBindings } from './monitor/read-bindings.ts';
import { Notifier, type NotifyOptions } from './notify/notifier.ts';
import { type Seams, systemSeams } from './seams.ts';

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly installation: Installation;
  /** Unique to this process. */
  readonly identity: string;
  readonly log: Log;
  /** Receivers of notifications about the end of Incidents. Without it, none are sent. */
  readonly notify?: NotifyOptions | undefined;
  /** The certificates to renew. Without it, none are. */
  readonly renewal?: RenewalOptions | undefined;
  /** Milliseconds between sweeps. */
  readonly sweepEveryMs?: number;
  /** How long the leader lease is valid without renewal, in seconds; sets its deadlines. */
  readonly leaseSeconds?: number;
}

const SWEEP_EVERY_MS = 3 * 60_000;
const LEASE_NAME = 'oplab-controller';
/** Incidents reconciled at the same time. Most of that time is spent waiting for responses. */
const CONCURRENCY = 16;

export class Controller {
  readonly #options: ControllerOptions;
  readonly #seams: Seams;
  readonly #incidents: Reflector<Incident>;
  readonly #classes: Reflector<AgentClass>;
  readonly #pods: Reflector<KubeObject>;
  readonly #monitoring: Monitoring;
  readonly #lease: LeaderLease;
  readonly #keys = new Map<string, string>();
  #queue: WorkQueue | undefined;
  #notifier: Notifier | undefined;

  constructor(options: ControllerOptions, seams: Seams = systemSeams) {
    this.#options = options;
    this.#seams = seams;
    const { client, log: logger, installation } = options;
    this.#incidents = new Reflector({
      client,
      resource: INCIDENTS,
      logger,
      parse: (object) => incidentSchema.parse(object),
      onEvent: ({ type, key, object, previous }) => {
        if (type === 'deleted') this.#keys.delete(object.metadata.uid);
        else this.#keys.set(object.metadata.uid, key);
        this.#queue?.add(key);
        if (type === 'deleted') this.#notifier?.forget(key);
        else this.#notifier?.consider(object);
        // A target namespace may have become free.
        const finished = (incident?: Incident) => isTrue(incident?.status?.conditions, CONDITIONS.Finished);
        const suspended = object.spec.suspend && previous?.spec.suspend === false;
        if (type === 'deleted' || suspended || (finished(object) && !finished(previous))) this.#enqueueWaiting();
      },
    });
    this.#classes = new Reflector({
      client,
      resource: AGENT_CLASSES,
      logger,
      parse: (object) => agentClassSchema.parse(object),
      onEvent: ({ object, previous }) => {
        // The gateway counts the usage of the day in the status. Only its limit concerns Incidents.
        if (previous !== undefined && !hasClassChanged(previous, object)) return;
        this.#enqueueWaiting();
        this.#monitoring.classChanged(object.metadata.name);
      },
    });
    this.#monitoring = new Monitoring(client, logger);
    this.#pods = new Reflector({
      client,
      resource: PODS,
      namespace: installation.agentsNamespace,
      labelSelector: `${LABEL_MANAGED_BY}=${MANAGED_BY},${LABEL_INCIDENT_UID}`,
      logger,
      parse: (object) => object,
      onEvent: ({ object }) => {
        const key = this.#keys.get(object.metadata.labels?.[LABEL_INCIDENT_UID] ?? '');
        if (key !== undefined) this.#queue?.add(key);
      },
    });
    const seconds = options.leaseSeconds ?? 15;
    this.#lease = new LeaderLease({
      client,
      namespace: installation.systemNamespace,
      name: LEASE_NAME,
      identity: options.identity,
      durationSeconds: seconds,
      renewDeadlineSeconds: seconds * (2 / 3),
      retrySeconds: seconds / 7.5,
      logger,
    });
  }

  /** Why the controller is not ready; undefined once all caches are synced. */
  get notReady(): string | undefined {
    const missing = this.#reflectors().some((reflector) => !reflector.isSynced);
    return missing ? 'not all resources have been listed yet' : undefined;
  }

  get isLeading(): boolean {
    return this.#lease.isLeading;
  }

  /** Incidents from the cache; for metrics. */
  incidents(): readonly Incident[] {
    return this.#incidents.list();
  }

  /** The Monitors and their failed observations; for metrics. */
  get monitors(): Pick<Monitoring, 'list' | 'failures'> {
    return this.#monitoring;
  }

  /**
   * Runs until the signal aborts.
   * @throws Error when leadership is lost; the process should exit
   */
  async run(signal: AbortSignal): Promise<void> {
    for (const reflector of this.#reflectors()) reflector.start(signal);
    await this.#lease.run(signal, (leading) => this.#lead(leading));
  }

  #reflectors(): readonly Pick<Reflector<unknown>, 'start' | 'isSynced' | 'synced'>[] {
    return [this.#incidents, this.#classes, this.#pods, this.#monitoring];
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { client, identity, installation, log, notify, renewal } = this.#options;
    const { now } = this.#seams;
    try {
      await Promise.all(this.#reflectors().map((reflector) => reflector.synced()));
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const checks = new ClassChecks(client, installation.agentsNamespace, this.#seams);
    const record = eventRecorder(client, identity, log);
    const caches = this.#caches();
    const reconciler = new IncidentReconciler({
      client,
      installation,
      caches,
      checks,
      log,
      record,
      seams: this.#seams,
    });
    const notifier = notify === undefined ? undefined : new Notifier(notify, { client, log, now, record });
    this.#notifier = notifier;
    const renewer = renewal === undefined ? undefined : new CertificateRenewer(renewal, { client, log, now });
    const queue = new WorkQueue({
      process: (key, stopped) => reconciler.reconcile(key, stopped),
      concurrency: CONCURRENCY,
      logger: log,
    });
    this.#queue = queue;
    // The caches may lag behind the previous leader's writes. The attempts that it started must be
    // counted before another one starts.
    for (const object of (await client.list(INCIDENTS, { signal })).items) {
      const incident = incidentSchema.safeParse(object);
      if (incident.success && isWorking(incident.data)) reconciler.noteStarted(incident.data);
      if (incident.success) notifier?.consider(incident.data);
      queue.add(objectKey(object));
    }
    const sweeping = this.#sweep(signal, installation.agentsNamespace, log);
    try {
      await Promise.all([
        queue.run(signal),
        notifier?.run(signal),
        renewer?.run(signal),
        this.#watch(checks, record, signal),
      ]);
    } finally {
      this.#queue = undefined;
      this.#notifier = undefined;
      await sweeping;
      await checks.close();
    }
  }

  async #watch(checks: ClassChecks, record: ReconcilerDeps['record'], signal: AbortSignal): Promise<void> {
    const { client, identity, log, installation } = this.#options;
    const { now, random } = this.#seams;
    await this.#monitoring.run(
      {
        client,
        agentsNamespace: installation.agentsNamespace,
        ownNamespaces: ownNamespaces(installation),
        now,
        random,
        incident: (key) => this.#incidents.get(key),
        agentClass: (name) => this.#classes.get(name),
        checkContext: (className, namespace) => checks.contextFor(className, namespace),
        cel: checks,
        incidentOpener: new IncidentOpener({ client, now, record }),
        record: eventRecorder(client, identity, log, 'Monitor'),
      },
      signal,
    );
  }

  #caches(): IncidentCaches {
    return {
      incidents: () => this.#incidents.list(),
      agentClass: (name) => this.#classes.get(name),
      pods: (uid) => this.#pods.list().filter((pod) => pod.metadata.labels?.[LABEL_INCIDENT_UID] === uid),
    };
  }

  #enqueueWaiting(): void {
    for (const incident of this.#incidents.list()) {
      if (!isTrue(incident.status?.conditions, CONDITIONS.Finished)) this.#queue?.add(objectKey(incident));
    }
  }

  async #sweep(signal: AbortSignal, agentsNamespace: string, log: Log): Promise<void> {
    while (!signal.aborted) {
      try {
        await sweepOrphans(this.#options.client, agentsNamespace, log);
        await deleteOrphanedReadBindings(this.#options.client);
      } catch (error) {
        if (!signal.aborted) log.warn({ error: errorMessage(error) }, 'the orphan sweep failed; it will be repeated');
      }
      await pause(this.#options.sweepEveryMs ?? SWEEP_EVERY_MS, signal);
    }
  }
}

/** Whether its spec has changed, or whether a limit of its quota holds. */
function hasClassChanged(previous: AgentClass, { metadata, status }: AgentClass): boolean {
  return (
    previous.metadata.uid !== metadata.uid ||
    previous.metadata.generation !== metadata.generation ||
    previous.status?.day?.limitReached !== status?.day?.limitReached ||
    previous.status?.day?.observedGeneration !== status?.day?.observedGeneration
  );
}
