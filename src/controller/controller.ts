// The controller: caches, the work queue, the sweep, and the leader lease. Composition only.

import { type AgentClass, agentClass as agentClassSchema } from '../api/agent-class.ts';
import { LABEL_INCIDENT_UID, LABEL_MANAGED_BY, MANAGED_BY } from '../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema } from '../api/incident.ts';
import { isTrue } from '../api/meta.ts';
import { Cel } from '../checks/cel.ts';
import { Discovery } from '../checks/discovery.ts';
import { type HttpFetch, httpFetch } from '../checks/http-fetch.ts';
import { messageOf } from '../errors.ts';
import type { KubeClient, KubeObject } from '../kube/client.ts';
import { LeaderLease } from '../kube/leader-lease.ts';
import type { Log } from '../kube/log.ts';
import { keyOf } from '../kube/object.ts';
import { Reflector } from '../kube/reflector.ts';
import { AGENT_CLASSES, INCIDENTS, PODS } from '../kube/resources.ts';
import { WorkQueue } from '../kube/work-queue.ts';
import { pause } from '../net/retry.ts';
import { IncidentOpener } from './alarm/incident-opener.ts';
import { eventRecorder } from './incident/events.ts';
import { sweepOrphans } from './incident/orphan-sweep.ts';
import { isWorking } from './incident/queue.ts';
import { IncidentReconciler } from './incident/reconcile.ts';
import type { ReconcilerDeps } from './incident/reconciler-deps.ts';
import { Monitoring } from './monitor/monitoring.ts';
import { deleteOrphanedReadBindings } from './monitor/read-bindings.ts';
import { Notifier, type NotifyOptions } from './notify/notifier.ts';
import { VerifyIdentity } from './verify-identity.ts';

export interface ControllerOptions {
  readonly client: KubeClient;
  readonly agentsNamespace: string;
  readonly systemNamespace: string;
  /** The namespace that serves the node's Docker socket, if any; no agent may work there. */
  readonly dockerNamespace?: string;
  readonly isolationProbes?: string;
  /** Unique to this process. */
  readonly identity: string;
  readonly log: Log;
  /** Receivers of notifications about the end of Incidents. Without it, none are sent. */
  readonly notify?: NotifyOptions | undefined;
  /** Milliseconds between sweeps. */
  readonly sweepEveryMs?: number;
  /** How long the leader lease is valid without renewal, in seconds; sets its deadlines. */
  readonly leaseSeconds?: number;
  /** For tests: the clock, how checks fetch, and where a test kills the controller. */
  readonly now?: () => Date;
  readonly fetch?: HttpFetch;
  readonly checkpoint?: ReconcilerDeps['checkpoint'];
}

const SWEEP_EVERY_MS = 3 * 60_000;
const LEASE_NAME = 'oplab-controller';
/** Incidents reconciled at the same time. Most of that time is spent waiting for responses. */
const CONCURRENCY = 16;

export class Controller {
  readonly #options: ControllerOptions;
  readonly #incidents: Reflector<Incident>;
  readonly #classes: Reflector<AgentClass>;
  readonly #pods: Reflector<KubeObject>;
  readonly #monitoring: Monitoring;
  readonly #lease: LeaderLease;
  readonly #keys = new Map<string, string>();
  #queue: WorkQueue | undefined;
  #notifier: Notifier | undefined;

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { client, log: logger, agentsNamespace } = options;
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
      onEvent: ({ object }) => {
        this.#enqueueWaiting();
        this.#monitoring.classChanged(object.metadata.name);
      },
    });
    this.#monitoring = new Monitoring(client, logger);
    this.#pods = new Reflector({
      client,
      resource: PODS,
      namespace: agentsNamespace,
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
      namespace: options.systemNamespace,
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
    const missing = this.#copies().some((copy) => !copy.isSynced);
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
    for (const copy of this.#copies()) copy.start(signal);
    await this.#lease.run(signal, (leading) => this.#lead(leading));
  }

  #copies(): readonly Pick<Reflector<unknown>, 'start' | 'isSynced' | 'synced'>[] {
    return [this.#incidents, this.#classes, this.#pods, this.#monitoring];
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { client, agentsNamespace, log } = this.#options;
    try {
      await Promise.all(this.#copies().map((copy) => copy.synced()));
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    }
    const cel = new Cel();
    const deps = this.#deps(cel);
    const reconciler = new IncidentReconciler(deps);
    const { notify } = this.#options;
    const notifier = notify === undefined ? undefined : new Notifier(notify, deps);
    this.#notifier = notifier;
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
      queue.add(keyOf(object));
    }
    const sweeping = this.#sweep(signal, agentsNamespace, log);
    try {
      await Promise.all([queue.run(signal), notifier?.run(signal), this.#watch(deps, signal)]);
    } finally {
      this.#queue = undefined;
      this.#notifier = undefined;
      await sweeping;
      await cel.close();
    }
  }

  async #watch(deps: ReconcilerDeps, signal: AbortSignal): Promise<void> {
    const { client, identity, log } = this.#options;
    const opener = new IncidentOpener({ client, now: deps.now, record: deps.record });
    await this.#monitoring.watch(
      {
        ...deps,
        book: opener,
        incident: (key) => this.#incidents.get(key),
        record: eventRecorder(client, identity, log, 'Monitor'),
        random: Math.random,
      },
      signal,
    );
  }

  #deps(cel: Cel): ReconcilerDeps {
    const { client, agentsNamespace, systemNamespace, dockerNamespace, isolationProbes } = this.#options;
    const { identity, log, fetch, checkpoint } = this.#options;
    const now = this.#options.now ?? (() => new Date());
    const identities = new VerifyIdentity(client, agentsNamespace);
    const discovery = new Discovery();
    return {
      client,
      agentsNamespace,
      systemNamespace,
      ownNamespaces: [systemNamespace, agentsNamespace, ...(dockerNamespace === undefined ? [] : [dockerNamespace])],
      isolationProbes: isolationProbes ?? '',
      log,
      now,
      incidents: () => this.#incidents.list(),
      agentClass: (name) => this.#classes.get(name),
      pods: (uid) => this.#pods.list().filter((pod) => pod.metadata.labels?.[LABEL_INCIDENT_UID] === uid),
      checkContext: (className) => ({
        kube: identities.clientFor(className),
        fetch: fetch ?? httpFetch,
        cel,
        discovery,
        now,
      }),
      cel,
      record: eventRecorder(client, identity, log),
      checkpoint: checkpoint ?? (() => Promise.resolve()),
    };
  }

  #enqueueWaiting(): void {
    for (const incident of this.#incidents.list()) {
      if (!isTrue(incident.status?.conditions, CONDITIONS.Finished)) this.#queue?.add(keyOf(incident));
    }
  }

  async #sweep(signal: AbortSignal, agentsNamespace: string, log: Log): Promise<void> {
    while (!signal.aborted) {
      try {
        await sweepOrphans(this.#options.client, agentsNamespace, log);
        await deleteOrphanedReadBindings(this.#options.client);
      } catch (error) {
        if (!signal.aborted) log.warn({ error: messageOf(error) }, 'the orphan sweep failed; it will be repeated');
      }
      await pause(this.#options.sweepEveryMs ?? SWEEP_EVERY_MS, signal);
    }
  }
}
