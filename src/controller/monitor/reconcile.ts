// One round over one Monitor: may it look, look, decide, tell the alarm book, write the status, come again.

import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER } from '../../api/group.ts';
import { CONDITIONS } from '../../api/incident.ts';
import { findCondition, isTrue } from '../../api/meta.ts';
import { type Monitor, type MonitorStatus, monitor as monitorSchema } from '../../api/monitor.ts';
import { messageOf } from '../../errors.ts';
import { applyStatus } from '../../kube/apply-status.ts';
import { isNotFound } from '../../kube/errors.ts';
import { splitKey } from '../../kube/object.ts';
import { MONITORS } from '../../kube/resources.ts';
import { expressionsOf, refusalOf } from './acceptance.ts';
import { type IncidentOutcome, nextAlarms } from './alarms.ts';
import { emptyMemory, type MonitorMemory } from './monitor-memory.ts';
import { noteChanges } from './notes.ts';
import { observe, type Probe } from './probe.ts';
import { deleteReadBindings, ensureReadBindings } from './read-bindings.ts';
import type { MonitorReconcilerDeps } from './reconciler-deps.ts';
import { reportAlarms } from './report.ts';
import { hasMaterialChange, refusedStatus, seenStatus, suspendedStatus, unseenStatus } from './status.ts';

/** A status that says nothing new is written this often, in ms. */
const WRITE_EVERY_MS = 30_000;
/** Rights that were just bound take a moment to reach the authorizer; longer than this, they are missing. In ms. */
const RIGHTS_WAIT_MS = 3000;
const RIGHTS_RETRY_MS = 250;
/** Rights that somebody took away come back after this, in ms. */
const REBIND_MS = 5 * 60_000;
/** Looks are spread, so that Monitors that were made together do not look together; part of the interval. */
const JITTER = 0.1;
/** Nothing that lasts is looked at more often, in ms. */
const MIN_WAIT_MS = 250;
/** Longer between two looks than this many intervals, and nobody can say what was in between. */
const GAP_INTERVALS = 3;
const GAP_MIN_MS = 60_000;

export class MonitorReconciler {
  readonly #deps: MonitorReconcilerDeps;
  readonly #memories = new Map<string, MonitorMemory>();

  constructor(deps: MonitorReconcilerDeps) {
    this.#deps = deps;
  }

  /** Handles one Monitor; returns the milliseconds after which to come again. @throws KubeError; then try again */
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
    const version = versionOf(monitor, agentClass);
    if (memory.version !== version) {
      memory.refusal = await this.#refusal(monitor, agentClass);
      memory.version = version;
    } else if (memory.nextLookAt === undefined) return undefined;
    else if (now < memory.nextLookAt) return memory.nextLookAt - now;
    if (signal.aborted) return undefined;
    return await this.#round(monitor, agentClass, memory, signal);
  }

  /** From the API server: what the last leader wrote must be known before anything is decided. */
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
    for (const expression of new Set(expressionsOf(monitor))) {
      const error = await this.#deps.cel.syntaxError(expression);
      if (error !== undefined) errors.set(expression, error);
    }
    return refusalOf(monitor, agentClass, errors, this.#deps.ownNamespaces);
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
      if (memory.rights !== undefined || memory.writtenAt === 0) await deleteReadBindings(deps.client, memory.uid);
      memory.rights = undefined;
      memory.lastLookAt = undefined;
      memory.nextLookAt = undefined;
      const status =
        memory.refusal === undefined || monitor.spec.suspend
          ? suspendedStatus(monitor, memory.status, time)
          : refusedStatus(monitor, memory.status, memory.refusal, time);
      await this.#write(monitor, memory, status);
      // A change of spec or class is noticed by watches.
      return undefined;
    }
    const startedAt = deps.now().getTime();
    await this.#bind(monitor, agentClass, memory);
    const sight = await observe(monitor, deps.checkContext(agentClass.metadata.name));
    if (signal.aborted) return undefined;
    if (sight.type === 'unseen' && sight.reason === 'Forbidden') {
      const boundAt = memory.rights?.at ?? 0;
      if (deps.now().getTime() - boundAt < RIGHTS_WAIT_MS) return RIGHTS_RETRY_MS;
      // Somebody may have taken them away: bind again before the next look.
      memory.rights = undefined;
    }
    await this.#conclude(monitor, memory, sight, signal);
    const { intervalSeconds } = monitor.spec;
    const interval = intervalSeconds * 1000 * (1 + (deps.random() - 0.5) * 2 * JITTER);
    const ended = deps.now().getTime();
    const wait = Math.max(MIN_WAIT_MS, Math.min(startedAt + interval - ended, dueIn(memory, monitor, ended)));
    memory.nextLookAt = ended + wait;
    return wait;
  }

  async #bind(monitor: Monitor, agentClass: AgentClass, memory: MonitorMemory): Promise<void> {
    const now = this.#deps.now().getTime();
    const version = memory.version ?? '';
    if (memory.rights?.version === version && now - memory.rights.at < REBIND_MS) return;
    await ensureReadBindings(this.#deps.client, monitor, agentClass, this.#deps.agentsNamespace);
    memory.rights = { version, at: this.#deps.now().getTime() };
  }

  async #conclude(monitor: Monitor, memory: MonitorMemory, sight: Probe, signal: AbortSignal): Promise<void> {
    const deps = this.#deps;
    const before = memory.status;
    if (sight.type === 'unseen') {
      deps.failedToSee(monitor);
      // What has to last without a break has to begin again.
      memory.lastLookAt = undefined;
      await this.#write(monitor, memory, unseenStatus(monitor, before, sight));
      return;
    }
    const now = Date.parse(sight.time);
    const gap = Math.max(GAP_MIN_MS, GAP_INTERVALS * monitor.spec.intervalSeconds * 1000);
    const broken = memory.lastLookAt === undefined || now - memory.lastLookAt > gap;
    memory.lastLookAt = now;
    const step = nextAlarms({ alarms: before?.alarms ?? [], flaps: memory.flaps }, sight.failing, {
      rules: monitor.spec,
      broken,
      outcomeOf: (name) => this.#outcomeOf(monitor, name),
      now: new Date(now),
    });
    memory.flaps = step.watch.flaps;
    const alarms = await reportAlarms(deps, monitor, memory, step, sight);
    if (signal.aborted) return;
    const { flaps, problem } = memory;
    const status = seenStatus(monitor, before, { sight, alarms, omitted: step.omitted, flaps, problem });
    await this.#write(monitor, memory, status);
  }

  #outcomeOf(monitor: Monitor, name: string): IncidentOutcome {
    const incident = this.#deps.incident(`${monitor.metadata.namespace}/${name}`);
    if (incident === undefined || incident.metadata.deletionTimestamp !== undefined) return 'missing';
    const { conditions } = incident.status ?? {};
    if (!isTrue(conditions, CONDITIONS.Finished)) return 'open';
    return findCondition(conditions, CONDITIONS.Finished)?.reason === 'Resolved' ? 'resolved' : 'ended';
  }

  /** Only what is new is written at once; only the leader does, and what it writes are its own findings. */
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
      // Deleted, or made anew in between: the watch will say so.
      if (isNotFound(error)) return;
      memory.writtenAt = 0;
      this.#deps.log.warn(
        { monitor: name, error: messageOf(error) },
        'the status could not be written; the next look tries again',
      );
      return;
    }
    memory.writtenAt = now;
    noteChanges(monitor, before, status, this.#deps.record);
  }
}

/** Spec and class of a round; the class's generation stands for its roles and namespaces. */
function versionOf({ metadata }: Monitor, agentClass: AgentClass | undefined): string {
  return `${metadata.generation ?? 0}/${agentClass?.metadata.uid ?? ''}/${agentClass?.metadata.generation ?? 0}`;
}

/** Milliseconds until something that lasts will have lasted long enough. */
function dueIn(memory: MonitorMemory, { spec }: Monitor, now: number): number {
  const due = (memory.status?.alarms ?? []).flatMap((alarm) => {
    if (alarm.state === 'Firing') return [];
    const seconds = alarm.state === 'Pending' ? spec.forSeconds : spec.clearSeconds;
    return [Date.parse(alarm.since) + seconds * 1000 - now].filter((left) => left > 0);
  });
  return Math.min(Number.POSITIVE_INFINITY, ...due);
}
