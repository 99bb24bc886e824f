// Writes the gateway's part of each Incident's status. Coalesces writes per Incident, limits the
// rate of all writes, and fences claims with a resourceVersion.

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AUDIT_GUARD_MANAGER, GATEWAY_MANAGER } from '../api/group.ts';
import { CONDITIONS, type Incident, incident as incidentSchema, sessionId } from '../api/incident.ts';
import type { Claim } from '../api/incident-status.ts';
import { type Condition, findCondition } from '../api/meta.ts';
import { TAIL_ENTRIES } from '../audit/excerpt.ts';
import type { AuditLog } from '../audit/log.ts';
import type { LogFailure } from '../audit/store-protocol.ts';
import { errorMessage, NoLease, UpstreamUnavailable } from '../errors.ts';
import { applyStatus } from '../kube/apply-status.ts';
import type { KubeClient } from '../kube/client.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import { INCIDENTS } from '../kube/resources.ts';
import type { Logger } from '../observability/logger.ts';
import type { AnchorGuard } from './anchor-guard.ts';
import type { Budgets } from './budget.ts';
import type { ChangeBook } from './changes.ts';
import type { ModelTroubles } from './model-troubles.ts';
import type { RunningCommands } from './running-commands.ts';
import {
  type AuditTrouble,
  auditGuardDocument,
  claimedCondition,
  repairClaimedNow,
  type StatusParts,
  statusDocument,
} from './status-document.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { Tripwires } from './tripwires.ts';

export interface StatusWriterOptions {
  readonly client: Pick<KubeClient, 'apply' | 'get'>;
  readonly log: Pick<AuditLog, 'head' | 'tail'>;
  readonly budgets: Budgets;
  readonly changes: Pick<ChangeBook, 'of'>;
  readonly commands: Pick<RunningCommands, 'unexplained'>;
  /** Compares the log with the status before a new anchor is written. */
  readonly guard: Pick<AnchorGuard, 'check' | 'reason' | 'written'>;
  /** Why the log accepts no new work; undefined while it does. */
  readonly logFailure: () => LogFailure | undefined;
  readonly tripwires: Pick<Tripwires, 'condition'>;
  readonly modelTroubles: Pick<ModelTroubles, 'condition'>;
  /** The Incident of a session as last seen; undefined if it no longer exists. */
  readonly incident: (session: string) => Incident | undefined;
  readonly bucket: Pick<TokenBucket, 'take'>;
  readonly logger: Logger;
  readonly onWrite?: (result: 'written' | 'failed') => void;
  /** The minimum time between two writes of one Incident, in milliseconds. Default: 1000. */
  readonly intervalMs?: number;
  readonly signal: AbortSignal;
}

interface Session {
  /** There is something to write. */
  dirty: boolean;
  /** Write without waiting for the interval. */
  urgent: boolean;
  writtenAt: number;
  /** Digest of the last document written. */
  lastDocument: string;
  /** The last document written for the audit guard, without its time. */
  lastGuard: string;
  known: { claim: Claim; condition: Condition } | undefined;
  /** Serialises the writes of one session. */
  lock: Promise<unknown>;
  runner: Promise<void> | undefined;
  wake: (() => void) | undefined;
}

const CLAIM_TRIES = 20;

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #sessions = new Map<string, Session>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Schedules a write after a change of the session: soon, or immediately if urgent. */
  touch(session: string, urgent = false): void {
    const state = this.#session(session);
    state.dirty = true;
    state.urgent ||= urgent;
    if (urgent) state.wake?.();
    if (this.#options.signal.aborted) return;
    state.runner ??= this.#run(session, state).finally(() => {
      state.runner = undefined;
      if (state.dirty && !this.#options.signal.aborted) this.touch(session);
      // Forget a session whose Incident no longer exists. Everything about it has been written.
      else if (this.#options.incident(session) === undefined) this.#sessions.delete(session);
    });
  }

  /** Writes immediately. Resolves when the write has succeeded and rejects when it has failed. */
  async flush(session: string): Promise<void> {
    const state = this.#session(session);
    await this.#locked(state, () => this.#write(session, state));
  }

  /** Writes all waiting changes. For the shutdown. */
  async flushAll(): Promise<void> {
    const waiting = [...this.#sessions].filter(([, state]) => state.dirty).map(([session]) => session);
    await Promise.all(waiting.map((session) => this.flush(session).catch(() => {})));
  }

  /**
   * Writes a claim with a precondition on the Incident's resourceVersion, so that a concurrent
   * change of the Incident is considered first.
   * @param requireLease throws if this version of the Incident gives the claim's attempt no lease
   */
  async claim(session: string, claim: Claim, requireLease: (incident: Incident) => void): Promise<void> {
    const state = this.#session(session);
    await this.#locked(state, async () => {
      const seen = this.#options.incident(session);
      const ref = seen?.metadata;
      if (ref === undefined)
        throw new UpstreamUnavailable('the gateway does not know the Incident at the moment; try again');
      for (let tries = 0; tries < CLAIM_TRIES; tries += 1) {
        const fresh = incidentSchema.parse(
          await this.#options.client.get(INCIDENTS, { name: ref.name, namespace: ref.namespace }),
        );
        requireLease(fresh);
        const broken = await this.#options.guard.check(fresh);
        if (broken !== undefined) throw new NoLease(broken);
        const condition = claimedCondition(claim, fresh.metadata.generation);
        const parts = await this.#parts(fresh, { claim, condition });
        try {
          await this.#options.bucket.take();
          await this.#apply(statusDocument(fresh, parts, fresh.metadata.resourceVersion));
          this.#published(session, parts);
          state.known = { claim, condition };
          state.writtenAt = performance.now();
          return;
        } catch (error) {
          if (!isConflict(error)) throw error;
        }
      }
      throw new UpstreamUnavailable('the Incident changes too often to write the claim; try again');
    });
  }

  #session(session: string): Session {
    let state = this.#sessions.get(session);
    if (state === undefined) {
      state = {
        dirty: false,
        urgent: false,
        writtenAt: Number.NEGATIVE_INFINITY,
        lastDocument: '',
        lastGuard: '',
        known: undefined,
        lock: Promise.resolve(),
        runner: undefined,
        wake: undefined,
      };
      this.#sessions.set(session, state);
    }
    return state;
  }

  #locked<T>(state: Session, work: () => Promise<T>): Promise<T> {
    const turn = state.lock.then(work, work);
    state.lock = turn.catch(() => {});
    return turn;
  }

  async #run(session: string, state: Session): Promise<void> {
    const { intervalMs = 1000, logger, signal } = this.#options;
    let failures = 0;
    while (state.dirty && !signal.aborted) {
      const wait =
        failures > 0 ? Math.min(30_000, 500 * 2 ** failures) : state.writtenAt + intervalMs - performance.now();
      if (wait > 0 && (failures > 0 || !state.urgent)) await this.#pause(state, wait);
      if (signal.aborted) return;
      try {
        await this.#locked(state, () => this.#write(session, state));
        failures = 0;
      } catch (error) {
        failures += 1;
        logger.warn({ session, error: errorMessage(error) }, 'the status cannot be written; retrying');
      }
    }
  }

  async #pause(state: Session, ms: number): Promise<void> {
    const stop = new AbortController();
    state.wake = () => stop.abort();
    await sleep(ms, undefined, { signal: AbortSignal.any([stop.signal, this.#options.signal]), ref: false }).catch(
      () => {},
    );
    state.wake = undefined;
  }

  /** Writes the current state of the session. A change in the meantime makes it dirty again. */
  async #write(session: string, state: Session): Promise<void> {
    state.dirty = false;
    state.urgent = false;
    try {
      const incident = this.#options.incident(session);
      if (incident === undefined) return;
      const failure = this.#options.logFailure();
      // A log that cannot even be read says nothing about one session.
      const broken =
        failure === undefined || failure.acceptsClosing
          ? await this.#options.guard.check(incident)
          : this.#options.guard.reason(session);
      if (await this.#applyGuard(incident, state, { broken, failure })) state.writtenAt = performance.now();
      // The anchor in the status is the evidence. Nothing may replace it.
      if (broken !== undefined) return;
      state.known = this.#newer(incident, state.known);
      const { claim, condition } = repairClaimedNow(incident, state.known);
      if (claim !== undefined && condition !== undefined) state.known = { claim, condition };
      const parts = await this.#parts(incident, { claim, condition });
      // What the status says came from entries that are no longer there.
      if (parts.head?.prunedAt !== undefined) return;
      const document = statusDocument(incident, parts);
      const digest = createHash('sha256').update(JSON.stringify(document)).digest('base64');
      if (digest === state.lastDocument) return;
      await this.#options.bucket.take();
      try {
        await this.#apply(document);
        state.lastDocument = digest;
        this.#published(session, parts);
      } catch (error) {
        // The Incident was deleted, or replaced by another one with the same name. Nothing to
        // write.
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
      state.writtenAt = performance.now();
    } catch (error) {
      state.dirty = true;
      throw error;
    }
  }

  /** The current claim: this process's own, unless the watch shows the claim of a later attempt. */
  #newer(incident: Incident, known: Session['known']): Session['known'] {
    const seen = incident.status?.claim;
    return known !== undefined && seen !== undefined && seen.attempt > known.claim.attempt ? undefined : known;
  }

  async #parts(
    incident: Incident,
    claimed: { claim: Claim | undefined; condition: Condition | undefined },
  ): Promise<StatusParts> {
    const { log, budgets, changes, commands, tripwires, modelTroubles } = this.#options;
    const session = sessionId(incident);
    const [tail, head, budget] = await Promise.all([
      log.tail(session, TAIL_ENTRIES),
      log.head(session),
      budgets.of(session),
    ]);
    // Read after the head, so that the count includes every entry up to a sealed head.
    const changesSoFar = await changes.of(session);
    return {
      head,
      tail,
      usage: budget.usage(),
      changes: changesSoFar,
      unexplained: await commands.unexplained(session),
      claim: claimed.claim,
      repairClaimed: claimed.condition,
      tripwires: tripwires.condition(incident),
      modelTrouble: modelTroubles.condition(incident),
    };
  }

  /**
   * Sets the conditions that say why nothing can be recorded, or removes them.
   * @returns whether it wrote
   */
  async #applyGuard(incident: Incident, state: Session, trouble: AuditTrouble): Promise<boolean> {
    const { conditions } = incident.status ?? {};
    const isClear = [CONDITIONS.AuditIntact, CONDITIONS.AuditWritable].every(
      (type) => findCondition(conditions, type) === undefined,
    );
    const hasTrouble = trouble.broken !== undefined || trouble.failure !== undefined;
    const wanted = JSON.stringify([trouble.broken, trouble.failure?.message]);
    // The watch may not show yet what was written last.
    if (wanted === state.lastGuard || (!hasTrouble && isClear && state.lastGuard === '')) return false;
    const document = auditGuardDocument(incident, trouble, new Date().toISOString());
    await this.#options.bucket.take();
    try {
      await this.#apply(document, AUDIT_GUARD_MANAGER);
    } catch (error) {
      // The Incident was deleted, or replaced by another one with the same name.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    state.lastGuard = wanted;
    return true;
  }

  #published(session: string, { head }: StatusParts): void {
    if (head !== undefined) this.#options.guard.written(session, head);
  }

  async #apply(document: Parameters<KubeClient['apply']>[1], manager = GATEWAY_MANAGER): Promise<void> {
    try {
      await applyStatus(this.#options.client, INCIDENTS, document, manager);
      this.#options.onWrite?.('written');
    } catch (error) {
      this.#options.onWrite?.('failed');
      throw error;
    }
  }
}
