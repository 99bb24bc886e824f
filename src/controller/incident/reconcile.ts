// Reconciles one Incident: read, plan, act. What it remembers between rounds only saves work.

import { FINALIZER, LABEL_ATTEMPT } from '../../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema, listTargetNamespaces } from '../../api/incident.ts';
import { isTrue } from '../../api/meta.ts';
import { observeBaseline } from '../../checks/baseline.ts';
import type { Observation } from '../../checks/observation.ts';
import { type CheckContext, checkExpression, observeChecks } from '../../checks/observe.ts';
import { errorMessage } from '../../errors.ts';
import type { KubeObject } from '../../kube/client.ts';
import { isConflict, isNotFound } from '../../kube/errors.ts';
import { splitKey } from '../../kube/object.ts';
import { INCIDENTS, PODS } from '../../kube/resources.ts';
import { ownNamespaces } from '../installation.ts';
import { removeCanaries } from './canaries.ts';
import { cleanUp } from './clean-up.ts';
import { needsObservation, plan } from './plan.ts';
import { type Action, type Learned, type Observed, type Plan, REQUEUE_NOW } from './plan-builder.ts';
import { type PodView, podState } from './pod-state.ts';
import { findBlocker, isWorking } from './queue.ts';
import { findQuotaHold } from './quota.ts';
import type { ReconcilerDeps } from './reconciler-deps.ts';
import { createPod, makeSurroundings, observeFirst } from './start-attempt.ts';
import { liveAttempt } from './status.ts';
import type { Step } from './steps.ts';
import { writeStatus } from './write-status.ts';

/** An observation that is younger than this is used again, in ms. */
const OBSERVE_AGAIN_MS = 400;
/** The delay before a failed start is retried, in ms. */
const START_RETRY_MS = 1000;

/** How far the cache may lag, in ms. */
const MAX_COPY_LAG_MS = 30_000;

/** Saves work. Losing it costs a few calls, never correctness. */
interface Memory {
  readonly cleaned: Set<string>;
  learned?: Learned;
  startProblem?: string;
  observation?: { readonly observations: readonly Observation[]; readonly lastObserved: string | undefined };
  syntaxErrors?: ReadonlyMap<string, string>;
}

type StartAction = Extract<Action, { readonly type: 'prepare-attempt' | 'observe-baseline' | 'create-pod' }>;

export class IncidentReconciler {
  readonly #deps: ReconcilerDeps;
  readonly #memories = new Map<string, Memory>();
  readonly #uids = new Map<string, string>();
  /**
   * When the start of an Incident was written, by UID, until the cache shows it. Two starts for the
   * same namespace must not miss each other.
   */
  readonly #starting = new Map<string, number>();
  #decision: Promise<unknown> = Promise.resolve();

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** @returns milliseconds until the next round, if one is needed. @throws KubeError; retry then */
  async reconcile(key: string, signal: AbortSignal): Promise<number | undefined> {
    let raw: KubeObject;
    try {
      raw = await this.#deps.client.get(INCIDENTS, splitKey(key));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      this.#forget(key);
      return undefined;
    }
    const parsed = incidentSchema.safeParse(raw);
    if (!parsed.success) {
      this.#deps.log.error(
        { key, error: parsed.error.message },
        'the Incident does not match its schema and is ignored',
      );
      return undefined;
    }
    const incident = parsed.data;
    const { uid } = incident.metadata;
    if (this.#uids.get(key) !== uid) this.#forget(key);
    this.#uids.set(key, uid);
    const memory = this.#memories.get(uid) ?? { cleaned: new Set<string>() };
    this.#memories.set(uid, memory);

    const observed = await this.#observe(incident, memory);
    if (signal.aborted) return undefined;
    try {
      const decided = await this.#planAndWrite(incident, observed, signal);
      if (decided === undefined) return undefined;
      const again = await this.#act(decided.incident, decided.plan, memory, signal);
      return again ?? decided.plan.requeueAfterMs;
    } catch (error) {
      // The Incident was changed in between, most often by the gateway, so the plan is void.
      if (isConflict(error)) return REQUEUE_NOW;
      if (isNotFound(error) && signal.aborted) return undefined;
      throw error;
    }
  }

  #forget(key: string): void {
    const uid = this.#uids.get(key);
    if (uid === undefined) return;
    this.#uids.delete(key);
    this.#memories.delete(uid);
    this.#starting.delete(uid);
  }

  async #observe(incident: Incident, memory: Memory): Promise<Omit<Observed, 'blocker' | 'quotaHold'>> {
    const deps = this.#deps;
    const last = incident.status?.attempts?.at(-1);
    const live = liveAttempt(incident.status);
    const [pod, syntaxErrors, observation] = await Promise.all([
      live?.podUID === undefined ? undefined : this.#pod(live.podName),
      this.#syntaxErrors(incident, memory),
      needsObservation(incident, deps.seams.now()) ? this.#observeChecks(incident, memory) : undefined,
    ]);
    const oldPods = deps.caches
      .pods(incident.metadata.uid)
      .map(podView)
      .filter(
        (view) => view.attempt <= (last?.number ?? 0) && view.uid !== live?.podUID && view.state.type !== 'ended',
      );
    return {
      agentClass: deps.caches.agentClass(incident.spec.agentClassName),
      syntaxErrors,
      ownNamespaces: ownNamespaces(deps.installation),
      pod,
      oldPods: oldPods.length,
      observation,
      cleaned: memory.cleaned,
      learned: memory.learned,
      startProblem: memory.startProblem,
    };
  }

  /** Reads from the API server: in a lagging cache, a new pod would seem to be gone. */
  async #pod(name: string): Promise<PodView | undefined> {
    try {
      return podView(await this.#deps.client.get(PODS, { namespace: this.#deps.installation.agentsNamespace, name }));
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #syntaxErrors(incident: Incident, memory: Memory): Promise<ReadonlyMap<string, string>> {
    if (memory.syntaxErrors !== undefined) return memory.syntaxErrors;
    if (isTrue(incident.status?.conditions, CONDITIONS.Accepted)) return new Map();
    const errors = new Map<string, string>();
    for (const check of incident.spec.verify.checks) {
      const error = await this.#deps.checks.syntaxError(checkExpression(check), incident.metadata.namespace);
      if (error !== undefined) errors.set(check.name, error);
    }
    memory.syntaxErrors = errors;
    return errors;
  }

  async #observeChecks(incident: Incident, memory: Memory): Promise<Observed['observation']> {
    const known = memory.observation;
    const knownTime = known?.observations[0]?.time;
    if (known !== undefined && knownTime !== undefined) {
      const age = this.#deps.seams.now().getTime() - Date.parse(knownTime);
      if (age >= 0 && age < OBSERVE_AGAIN_MS) return known;
    }
    const observations = await observeAll(
      incident,
      this.#deps.checks.contextFor(incident.spec.agentClassName, incident.metadata.namespace),
    );
    // After a restart of the controller, a running soak shows that status has the last observation.
    const recorded = incident.status?.soak?.startTime === undefined ? undefined : lastObservedTime(incident);
    memory.observation = { observations, lastObserved: knownTime ?? recorded };
    return memory.observation;
  }

  /** Plans and writes the status, one Incident at a time: which one may start depends on all. */
  #planAndWrite(
    incident: Incident,
    observed: Omit<Observed, 'blocker' | 'quotaHold'>,
    signal: AbortSignal,
  ): Promise<{ incident: Incident; plan: Plan } | undefined> {
    const decision = this.#decision.then(async () => {
      if (signal.aborted) return undefined;
      const deps = this.#deps;
      const now = deps.seams.now();
      const [all, starting] = [deps.caches.incidents(), this.#stillStarting()];
      const blocker = findBlocker(incident, all, starting);
      const quotaHold = findQuotaHold(incident, observed.agentClass, { all, starting, now });
      const decided = plan(incident, { ...observed, blocker, quotaHold }, now);
      let current = incident;
      if (decided.actions.some((action) => action.type === 'add-finalizer')) {
        current = await this.#patchFinalizers(current, [...(current.metadata.finalizers ?? []), FINALIZER]);
        await deps.seams.checkpoint('finalizer-added', current);
      }
      if (decided.status !== undefined) {
        const before = current;
        current = await writeStatus(deps.client, before, decided.status);
        if (decided.actions.some((action) => action.type === 'prepare-attempt')) this.noteStarted(current);
        for (const note of decided.notes) deps.record(current, note);
        await deps.seams.checkpoint(writtenStep(before, current), current);
      }
      return { incident: current, plan: decided };
    });
    this.#decision = decision.catch(() => undefined);
    return decision;
  }

  /** Counts an Incident as working before the cache shows it. */
  noteStarted(incident: Incident): void {
    this.#starting.set(incident.metadata.uid, Date.now());
  }

  #stillStarting(): ReadonlySet<string> {
    for (const { status, metadata } of this.#deps.caches.incidents()) {
      const isVisible = liveAttempt(status) !== undefined || isTrue(status?.conditions, CONDITIONS.Finished);
      if (isVisible) this.#starting.delete(metadata.uid);
    }
    // The cache may never show a short attempt, which must not block the queue for ever.
    for (const [uid, at] of this.#starting) if (Date.now() - at > MAX_COPY_LAG_MS) this.#starting.delete(uid);
    return new Set(this.#starting.keys());
  }

  async #act(incident: Incident, decided: Plan, memory: Memory, signal: AbortSignal): Promise<number | undefined> {
    let current = incident;
    for (const action of decided.actions) {
      if (signal.aborted) return undefined;
      const outcome = await this.#perform(action, current, memory, signal);
      if (typeof outcome === 'number') return outcome;
      current = outcome;
    }
    return undefined;
  }

  async #perform(action: Action, incident: Incident, memory: Memory, signal: AbortSignal): Promise<Incident | number> {
    const deps = this.#deps;
    switch (action.type) {
      case 'add-finalizer':
        return incident;
      case 'prepare-attempt':
      case 'observe-baseline':
      case 'create-pod':
        try {
          return await this.#start(action, incident, memory, signal);
        } catch (error) {
          if (isConflict(error) || signal.aborted) throw error;
          memory.startProblem = errorMessage(error);
          deps.log.warn(
            { incident: incident.metadata.name, error: errorMessage(error) },
            'the attempt cannot start yet',
          );
          return START_RETRY_MS;
        }
      case 'clean-attempt':
        await this.#removeCanaries(incident);
        await cleanUp(deps.client, incident, deps.installation.agentsNamespace, action.attempt);
        memory.cleaned.add(`attempt-${action.attempt}`);
        await deps.seams.checkpoint('attempt-cleaned', incident);
        return incident;
      case 'clean-incident':
        await this.#removeCanaries(incident);
        await cleanUp(deps.client, incident, deps.installation.agentsNamespace);
        memory.cleaned.add('incident');
        await deps.seams.checkpoint('incident-cleaned', incident);
        return incident;
      case 'remove-finalizer': {
        const others = (incident.metadata.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZER);
        const freed = await this.#patchFinalizers(incident, others);
        await deps.seams.checkpoint('finalizer-removed', freed);
        return freed;
      }
    }
  }

  /** Deletes the canaries in its targets, except where another Incident is at work. */
  async #removeCanaries(incident: Incident): Promise<void> {
    const { caches, client, installation } = this.#deps;
    if (installation.tripwires === undefined) return;
    const { uid } = incident.metadata;
    const others = caches.incidents().filter((other) => other.metadata.uid !== uid && isWorking(other));
    const inUse = new Set(others.flatMap((other) => listTargetNamespaces(other)));
    const free = listTargetNamespaces(incident).filter((namespace) => !inUse.has(namespace));
    await removeCanaries(client, installation.tripwires, free);
  }

  /** Performs one step of a start. The next plan writes what it learns to status. */
  async #start(
    action: StartAction,
    incident: Incident,
    memory: Memory,
    signal: AbortSignal,
  ): Promise<Incident | typeof REQUEUE_NOW> {
    const deps = this.#deps;
    const { attempt } = action;
    if (action.type === 'prepare-attempt') {
      await makeSurroundings(deps, { incident, attempt }, action.agentClass);
      return incident;
    }
    if (action.type === 'observe-baseline') {
      memory.learned = { attempt, firstObservation: await observeFirst(deps.checks, incident, signal) };
      await deps.seams.checkpoint('baseline-observed', incident);
    } else {
      memory.learned = { attempt, podUID: await createPod(deps, { incident, attempt }, action.agentClass) };
      await deps.seams.checkpoint('pod-made', incident);
    }
    delete memory.startProblem;
    return REQUEUE_NOW;
  }

  async #patchFinalizers(incident: Incident, finalizers: readonly string[]): Promise<Incident> {
    const { name, namespace, resourceVersion } = incident.metadata;
    try {
      return incidentSchema.parse(
        await this.#deps.client.patch(
          INCIDENTS,
          { name, namespace },
          { metadata: { resourceVersion, finalizers: finalizers.length === 0 ? null : finalizers } },
        ),
      );
    } catch (error) {
      if (isNotFound(error) && incident.metadata.deletionTimestamp !== undefined) return incident;
      throw error;
    }
  }
}

/** Names a write of status: those after which a pod may exist have their own names. */
function writtenStep({ status: before }: Incident, { status: after }: Incident): Step {
  if (before?.baseline === undefined && after?.baseline !== undefined) return 'baseline-recorded';
  const recorded = liveAttempt(after)?.podUID !== undefined && liveAttempt(before)?.podUID === undefined;
  return recorded ? 'pod-recorded' : 'status-written';
}

/** Observes all checks, and whether the workloads of the baseline still exist. */
async function observeAll(incident: Incident, context: CheckContext): Promise<Observation[]> {
  const { baseline } = incident.status ?? {};
  const targets = listTargetNamespaces(incident);
  const readings = new Map(baseline?.readings?.map(({ check, json }) => [check, json]));
  const [checks, workloads] = await Promise.all([
    observeChecks(incident.spec.verify.checks, targets, context, readings),
    baseline === undefined ? [] : observeBaseline(baseline, targets, context.kube, context.now).then((one) => [one]),
  ]);
  return [...checks, ...workloads];
}

function lastObservedTime(incident: Incident): string | undefined {
  return incident.status?.verification
    ?.map((result) => result.observedTime)
    .sort()
    .at(-1);
}

function podView(pod: KubeObject): PodView {
  return {
    name: pod.metadata.name,
    uid: pod.metadata.uid ?? '',
    attempt: Number(pod.metadata.labels?.[LABEL_ATTEMPT] ?? 0),
    deleting: pod.metadata.deletionTimestamp != null,
    state: podState(pod),
  };
}
