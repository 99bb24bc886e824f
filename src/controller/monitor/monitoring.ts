// The Monitors of a controller: their local copy, their queue and their metrics. Composition only.

import { type Monitor, monitor as monitorSchema } from '../../api/monitor.ts';
import type { KubeClient } from '../../kube/client.ts';
import type { Log } from '../../kube/log.ts';
import { objectKey } from '../../kube/object.ts';
import { Reflector } from '../../kube/reflector.ts';
import { MONITORS } from '../../kube/resources.ts';
import { WorkQueue } from '../../kube/work-queue.ts';
import { MonitorReconciler } from './reconcile.ts';
import type { MonitorReconcilerDeps } from './reconciler-deps.ts';

/** Probes that run at the same time. They mostly wait for responses. */
const CONCURRENCY = 8;

export class Monitoring {
  readonly #log: Log;
  readonly #monitors: Reflector<Monitor>;
  readonly #failures = new Map<string, { readonly monitor: Monitor; readonly count: number }>();
  #queue: WorkQueue | undefined;

  constructor(client: KubeClient, log: Log) {
    this.#log = log;
    this.#monitors = new Reflector({
      client,
      resource: MONITORS,
      logger: log,
      parse: (object) => monitorSchema.parse(object),
      onEvent: ({ type, key }) => {
        if (type === 'deleted') this.#failures.delete(key);
        this.#queue?.add(key);
      },
    });
  }

  start(signal: AbortSignal): void {
    this.#monitors.start(signal);
  }

  get isSynced(): boolean {
    return this.#monitors.isSynced;
  }

  synced(): Promise<void> {
    return this.#monitors.synced();
  }

  /** From the local copy. */
  list(): readonly Monitor[] {
    return this.#monitors.list();
  }

  /** Failed probes of this process, by Monitor. */
  failures(): readonly { readonly monitor: Monitor; readonly count: number }[] {
    return [...this.#failures.values()];
  }

  /** An AgentClass changed, so the Monitors that use it are checked again. */
  classChanged(className: string): void {
    for (const monitor of this.#monitors.list()) {
      if (monitor.spec.incident.agentClassName === className) this.#queue?.add(objectKey(monitor));
    }
  }

  /** Runs the Monitors until the signal aborts. Only the leader calls it. */
  async run(
    deps: Omit<MonitorReconcilerDeps, 'monitor' | 'onFailedProbe' | 'log'>,
    signal: AbortSignal,
  ): Promise<void> {
    const reconciler = new MonitorReconciler({
      ...deps,
      log: this.#log,
      monitor: (key) => this.#monitors.get(key),
      onFailedProbe: (monitor) => {
        const key = objectKey(monitor);
        this.#failures.set(key, { monitor, count: (this.#failures.get(key)?.count ?? 0) + 1 });
      },
    });
    const queue = new WorkQueue({
      process: (key, stopped) => reconciler.reconcile(key, stopped),
      concurrency: CONCURRENCY,
      logger: this.#log,
    });
    this.#queue = queue;
    for (const monitor of this.#monitors.list()) queue.add(objectKey(monitor));
    try {
      await queue.run(signal);
    } finally {
      this.#queue = undefined;
    }
  }
}
