// Writes what each AgentClass has used today to its status, from which the controller decides
// whether an attempt may start.

import type { AgentClass } from '../api/agent-class.ts';
import { API_VERSION, GATEWAY_MANAGER } from '../api/group.ts';
import { type Condition, findCondition, setCondition } from '../api/meta.ts';
import { resolveQuota } from '../api/quota.ts';
import { errorMessage } from '../errors.ts';
import { applyStatus } from '../kube/apply-status.ts';
import type { KubeClient } from '../kube/client.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import { AGENT_CLASSES } from '../kube/resources.ts';
import type { Logger } from '../observability/logger.ts';
import type { DayQuota, QuotaClass } from './day-quota.ts';
import { HurriedLoop } from './hurried-loop.ts';
import { MODEL_REACHABLE, type ModelState } from './model-probe.ts';

export interface ClassStatusOptions {
  readonly client: Pick<KubeClient, 'apply'>;
  readonly quota: Pick<DayQuota, 'usage'>;
  readonly classes: () => readonly AgentClass[];
  /** Whether the models of a class can be used; undefined as long as nobody knows. */
  readonly modelState: (agentClass: AgentClass) => ModelState | undefined;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The time between two writes that are not urgent, in milliseconds. Default: 15,000. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 15_000;

/** The quota in force for a class of this name, which may not exist. */
export function quotaClass(name: string, agentClass: AgentClass | undefined): QuotaClass {
  return { name, generation: agentClass?.metadata.generation, quota: resolveQuota(agentClass?.spec.quota) };
}

export class ClassStatusWriter {
  readonly #options: ClassStatusOptions;
  /** The last document written, by UID of the class. */
  readonly #written = new Map<string, string>();
  readonly #loop = new HurriedLoop();

  constructor(options: ClassStatusOptions) {
    this.#options = options;
  }

  /** Writes soon, for example because a call was refused. */
  hurry(): void {
    this.#loop.hurry();
  }

  /** Writes what has changed, at intervals and when hurried, until the signal aborts. */
  run(): Promise<void> {
    const { signal, intervalMs = INTERVAL_MS } = this.#options;
    return this.#loop.run(() => this.write(), intervalMs, signal);
  }

  /** Writes every status that has changed. A failed write is tried again the next time. */
  async write(): Promise<void> {
    for (const agentClass of this.#options.classes()) await this.#writeOne(agentClass);
  }

  #condition(agentClass: AgentClass): Condition | undefined {
    const state = this.#options.modelState(agentClass);
    const { conditions } = agentClass.status ?? {};
    // What an earlier gateway knew stays until this one knows.
    if (state === undefined) return findCondition(conditions, MODEL_REACHABLE);
    const context = {
      now: new Date().toISOString(),
      generation: agentClass.metadata.generation,
      order: [MODEL_REACHABLE],
    };
    return findCondition(setCondition(conditions, { type: MODEL_REACHABLE, ...state }, context), MODEL_REACHABLE);
  }

  async #writeOne(agentClass: AgentClass): Promise<void> {
    const { client, quota, logger } = this.#options;
    const { name, uid } = agentClass.metadata;
    const day = quota.usage(quotaClass(name, agentClass));
    // A class that was never used has no status.
    const isUnused = day.costMilliUSD === 0 && day.tokens === 0 && day.limitReached === undefined;
    const hasDay = !isUnused || agentClass.status?.day !== undefined;
    const condition = this.#condition(agentClass);
    if (!hasDay && condition === undefined) return;
    const status = {
      ...(hasDay ? { day } : {}),
      ...(condition === undefined ? {} : { conditions: [condition] }),
    };
    const document = JSON.stringify(status);
    if (this.#written.get(uid) === document) return;
    try {
      await applyStatus(
        client,
        AGENT_CLASSES,
        { apiVersion: API_VERSION, kind: 'AgentClass', metadata: { name, uid }, status },
        GATEWAY_MANAGER,
      );
      this.#written.set(uid, document);
    } catch (error) {
      // The class was deleted, or replaced by another one with the same name.
      if (isNotFound(error) || isConflict(error)) return;
      logger.warn(
        { agentClass: name, error: errorMessage(error) },
        'the status of a class cannot be written; retrying',
      );
    }
  }
}
