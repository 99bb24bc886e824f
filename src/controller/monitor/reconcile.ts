// Reconciles one Monitor: accepts it, runs a probe, reports its alarms, writes the status.

import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER } from '../../api/group.ts';
import { CONDITIONS } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { type Monitor, type MonitorStatus, monitor as monitorSchema } from '../../api/monitor.ts';
import { errorMessage } from '../../errors.ts';
import { applyStatus } from '../../kube/apply-status.ts';
import { isNotFound } from '../../kube/errors.ts';
import { splitKey } from '../../kube/object.ts';
import { MONITORS } from '../../kube/resources.ts';
import { findRefusal, listExpressions } from './acceptance.ts';
import { type IncidentOutcome, nextAlarms } from './alarms.ts';
import { emptyMemory, type MonitorMemory } from './monitor-memory.ts';
import { recordChanges } from './notes.ts';
import { type Probe, runProbe } from './probe.ts';
import { deleteReadBindings, ensureReadBindings } from './read-bindings.ts';
import type { MonitorReconcilerDeps } from './reconciler-deps.ts';
import { reportAlarms } from './report.ts';
import { failedStatus, hasMaterialChange, observedStatus, refusedStatus, suspendedStatus } from './status.ts';

/** How often a status without material changes is written, in ms. */
const WRITE_EVERY_MS = 30_000;
/**
 * New bindings take a moment to reach the authorizer. After this time a permission counts as
 * missing. In ms.
 */
const BINDING_WAIT_MS = 3000;
const BINDING_RETRY_MS = 250;
/** How often the bindings are applied again, in case someone deleted them, in ms. */
const REBIND_MS = 5 * 60_000;
/** Spreads the probes of Monitors that were created together, as a fraction of the interval. */
const JITTER = 0.1;
/** The shortest time between two probes, in ms. */
const MIN_WAIT_MS = 250;
/** After a gap of more intervals than this, nothing is known about the time between two probes. */
const GAP_INTERVALS = 3;
const GAP_MIN_MS = 60_000;

export class MonitorReconciler {
  readonly #deps: MonitorReconcilerDeps;
  readonly #memories = new Map<string, MonitorMemory>();

  constructor(deps: MonitorReconcilerDeps) {
    this.#deps = deps;
  }

  /**
   * Handles one Monitor.
   * @returns the milliseconds after which to requeue it; undefined if only a change requires it
   * @throws KubeError; the caller tries again
   */
  async reconcile(key: string, signal: AbortSignal): Promise<number | undefined> {
    const deps = this.#deps;
    const monitor = deps.monitor(key);
    const known = this.#memories.get(key);
    const isGone = monitor === undefined || monitor.metadata.deletionTimestamp !== undefined;
    if (known !== undefined && (isGone || monitor.metadata.uid !== known.uid)) {
      await deleteReadBindings(deps.client, known.uid);
      this.#memories.delete(key);
    }
    if (isGone) return undefined;
    const memory = this.#memories.get(key) ?? (await this.#load(key, monitor));
    if (memory === undefined) return undefined;
    const agentClass = deps.agentClass(monitor.spec.incident.agentClassName);
    const now = deps.now().getTime();
    const version = describeVersion(monitor, agentClass);
    if (memory.version !== version) {
      memory.refusal = await this.#refusal(monitor, agentClass);
      memory.version = version;
    } else if (memory.nextProbeAt === undefined) return undefined;
    else if (now < memory.nextProbeAt) return memory.nextProbeAt - now;
    if (signal.aborted) return undefined;
    return await this.#round(monitor, agentClass, memory, signal);
  }

  /**
   * Reads the API server, because what the previous leader wrote must be known before any decision.
   */
  async #load(key: string, monitor: Monitor): Promise<MonitorMemory | undefined> {
    try {
      const read = monitorSchema.parse(await this.#deps.client.get(MONITORS, splitKey(key)));
      if (read.metadata.uid !== monitor.metadata.uid) return undefined;
      const memory = emptyMemory(read.metadata.uid, read.status);
      this.#memories.set(key, memory);
      return memory;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #refusal(monitor: Monitor, agentClass: AgentClass | undefined): Promise<MonitorMemory['refusal']> {
    const errors = new Map<string, string>();
    for (const expression of new Set(listExpressions(monitor))) {
      const error = await this.#deps.cel.syntaxError(expression, monitor.metadata.namespace);
      if (error !== undefined) errors.set(expression, error);
    }
    return findRefusal(monitor, agentClass, errors, this.#deps.ownNamespaces);
  }

  async #round(
    monitor: Monitor,
    agentClass: AgentClass | undefined,
    memory: MonitorMemory,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const deps = this.#deps;
    const time = deps.now().toISOString();
    if (monitor.spec.suspend || memory.refusal !== undefined || agentClass === undefined) {
      if (memory.bound !== undefined || memory.writtenAt === 0) await deleteReadBindings(deps.client, memory.uid);
      memory.bound = undefined;
      memory.lastProbeAt = undefined;
      memory.nextProbeAt = undefined;
      const status =
        memory.refusal === undefined || monitor.spec.suspend
          ? suspendedStatus(monitor, memory.status, time)
          : refusedStatus(monitor, memory.status, memory.refusal, time);
      await this.#write(monitor, memory, status);
      // A watch reports changes of the spec and of the class.
      return undefined;
    }
    const startedAt = deps.now().getTime();
    await this.#bind(monitor, agentClass, memory);
    const probe = await runProbe(monitor, deps.checkContext(agentClass.metadata.name, monitor.metadata.namespace));
    if (signal.aborted) return undefined;
    if (probe.type === 'failed' && probe.reason === 'Forbidden') {
      const boundAt = memory.bound?.at ?? 0;
      if (deps.now().getTime() - boundAt < BINDING_WAIT_MS) return BINDING_RETRY_MS;
      // Someone may have deleted the bindings: create them again before the next probe.
      memory.bound = undefined;
    }
    await this.#report(monitor, memory, probe, signal);
    const { intervalSeconds } = monitor.spec;
    const interval = intervalSeconds * 1000 * (1 + (deps.random() - 0.5) * 2 * JITTER);
    const ended = deps.now().getTime();
    const wait = Math.max(MIN_WAIT_MS, Math.min(startedAt + interval - ended, dueIn(memory, monitor, ended)));
    memory.nextProbeAt = ended + wait;
    return wait;
  }

  async #bind(monitor: Monitor, agentClass: AgentClass, memory: MonitorMemory): Promise<void> {
    const now = this.#deps.now().getTime();
    const version = memory.version ?? '';
    if (memory.bound?.version === version && now - memory.bound.at < REBIND_MS) return;
    await ensureReadBindings(this.#deps.client, monitor, agentClass, this.#deps.agentsNamespace);
    memory.bound = { version, at: this.#deps.now().getTime() };
  }

  async #report(monitor: Monitor, memory: MonitorMemory, probe: Probe, signal: AbortSignal): Promise<void> {
    const deps = this.#deps;
    const before = memory.status;
    if (probe.type === 'failed') {
      deps.onFailedProbe(monitor);
      // Everything that must last without interruption starts again.
      memory.lastProbeAt = undefined;
      await this.#write(monitor, memory, failedStatus(monitor, before, probe));
      return;
    }
    const now = Date.parse(probe.time);
    const gap = Math.max(GAP_MIN_MS, GAP_INTERVALS * monitor.spec.intervalSeconds * 1000);
    const broken = memory.lastProbeAt === undefined || now - memory.lastProbeAt > gap;
    memory.lastProbeAt = now;
    const step = nextAlarms({ alarms: before?.alarms ?? [], flaps: memory.flaps }, probe.failing, {
      rules: monitor.spec,
      broken,
      findOutcome: (name) => this.#findOutcome(monitor, name),
      now: new Date(now),
    });
    memory.flaps = step.next.flaps;
    const alarms = await reportAlarms(deps, monitor, memory, step, probe);
    if (signal.aborted) return;
    const { flaps, problem } = memory;
    const status = observedStatus(monitor, before, { probe, alarms, omitted: step.omitted, flaps, problem });
    await this.#write(monitor, memory, status);
  }

  #findOutcome(monitor: Monitor, name: string): IncidentOutcome {
    const incident = this.#deps.incident(`${monitor.metadata.namespace}/${name}`);
    if (incident === undefined || incident.metadata.deletionTimestamp !== undefined) return 'missing';
    const { conditions } = incident.status ?? {};
    if (!isTrue(conditions, CONDITIONS.Finished)) return 'open';
    return findCondition(conditions, CONDITIONS.Finished)?.reason === 'Resolved' ? 'resolved' : 'ended';
  }

  /** Writes material changes at once, and everything else at times. Only the leader writes. */
  async #write(monitor: Monitor, memory: MonitorMemory, status: MonitorStatus): Promise<void> {
    const now = this.#deps.now().getTime();
    const before = memory.status;
    memory.status = status;
    if (!hasMaterialChange(before, status) && now - memory.writtenAt < WRITE_EVERY_MS) return;
    const { name, namespace, uid } = monitor.metadata;
    try {
      const document = { metadata: { name, namespace, uid }, status };
      await applyStatus(this.#deps.client, MONITORS, document, CONTROLLER_MANAGER);
    } catch (error) {
      // It was deleted, and maybe created again. The watch will report it.
      if (isNotFound(error)) return;
      memory.writtenAt = 0;
      this.#deps.log.warn(
        { monitor: name, error: errorMessage(error) },
        'the status cannot be written: trying again after the next probe',
      );
      return;
    }
    memory.writtenAt = now;
    recordChanges(monitor, before, status, this.#deps.record);
  }
}

/** Identifies the spec and the class of a round. */
function describeVersion({ metadata }: Monitor, agentClass: AgentClass | undefined): string {
  return `${metadata.generation ?? 0}/${agentClass?.metadata.uid ?? ''}/${agentClass?.metadata.generation ?? 0}`;
}

/** Milliseconds until the next alarm has been pending or clearing for long enough. */
function dueIn(memory: MonitorMemory, { spec }: Monitor, now: number): number {
  const due = (memory.status?.alarms ?? []).flatMap((alarm) => {
    if (alarm.state === 'Firing') return [];
    const seconds = alarm.state === 'Pending' ? spec.forSeconds : spec.clearSeconds;
    return [Date.parse(alarm.since) + seconds * 1000 - now].filter((left) => left > 0);
  });
  return Math.min(Number.POSITIVE_INFINITY, ...due);
}
