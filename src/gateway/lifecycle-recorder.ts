// Records each Incident's lifecycle in its session, and seals the session on request.

import { CONDITIONS, type Incident, sessionId } from '../api/incident.ts';
import { findCondition, isTrue } from '../api/meta.ts';
import type { Entry } from '../audit/entry.ts';
import { outcomeEntry, sealEntry } from '../audit/lifecycle.ts';
import type { AuditLog } from '../audit/log.ts';
import { AuditConflict, errorMessage, LimitReached, SessionSealed } from '../errors.ts';
import { backoffMs, pause } from '../net/retry.ts';
import type { Logger } from '../observability/logger.ts';
import type { InFlight } from './in-flight.ts';
import { sealRequested } from './leases.ts';
import { lifecycleEntries, type RecordedState, recordedState, restore } from './lifecycle-entries.ts';

export interface LifecycleRecorderOptions {
  readonly log: AuditLog;
  readonly inFlight: InFlight;
  /**
   * Compares the log with the Incident's status, before anything is added to the log. The result
   * is why the log is broken, or undefined.
   */
  readonly checkAnchor: (incident: Incident) => Promise<string | undefined>;
  /** Why the log of a session is broken, also if its Incident no longer exists. */
  readonly brokenReason?: (session: string) => string | undefined;
  /** The Incident as last seen; undefined if it no longer exists. */
  readonly incident: (session: string) => Incident | undefined;
  /**
   * Asks the API server whether an Incident no longer exists. The session of an Incident that
   * merely cannot be read must not be sealed. Throws if the API server cannot be asked.
   */
  readonly isGone: (incident: { namespace: string; name: string; uid: string }) => Promise<boolean>;
  /** Called when the session's record has changed in a way that the status must show. */
  readonly onRecord: (session: string, urgent: boolean) => void;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** How long a seal waits for requests in progress to be recorded, in milliseconds. */
  readonly drainMs?: number;
}

interface Session {
  recorded: RecordedState | undefined;
  /** Client keys of the gateway's lifecycle entries in the log. Most steps are seen many times. */
  written: Set<string>;
  /** The latest version of the Incident that is not recorded yet. */
  next: Incident | undefined;
  gone: boolean;
  running: boolean;
}

const PAGE = 1000;
const BACKOFF = { baseMs: 500, maxMs: 15_000 };

export class LifecycleRecorder {
  readonly #options: LifecycleRecorderOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #sealed = new Set<string>();

  constructor(options: LifecycleRecorderOptions) {
    this.#options = options;
  }

  /** Queues a change of an Incident. Never blocks and never throws. */
  incidentChanged(event: { type: 'added' | 'modified' | 'deleted'; object: Incident; previous?: Incident }): void {
    const { object, previous } = event;
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) {
      this.#enqueue(sessionId(previous), previous, true);
    }
    this.#enqueue(sessionId(object), object, event.type === 'deleted');
  }

  /**
   * Seals sessions whose Incidents were deleted while no gateway was watching. Call it when the
   * watch is in sync.
   */
  async sealOrphans(): Promise<void> {
    for (const summary of await this.#options.log.sessions()) {
      if (summary.sealed || this.#options.incident(summary.session) !== undefined) continue;
      if (!(await this.#options.isGone(summary.incident))) continue;
      // A broken log is evidence. It is not sealed.
      if (this.#options.brokenReason?.(summary.session) !== undefined) continue;
      await this.#seal(summary.session, 0, 'Deleted', 'the Incident was deleted while the gateway was not watching');
    }
  }

  /** Resolves when nothing is waiting to be recorded. For tests and the shutdown. */
  async idle(): Promise<void> {
    while ([...this.#sessions.values()].some((session) => session.running)) {
      await pause(20, new AbortController().signal);
    }
  }

  #enqueue(session: string, incident: Incident, gone: boolean): void {
    if (this.#sealed.has(session)) {
      if (gone) this.#sealed.delete(session);
      // A sealed session matters only until the controller has copied the seal.
      else if (sealRequested(incident)) this.#options.onRecord(session, false);
      return;
    }
    let state = this.#sessions.get(session);
    if (state === undefined) {
      state = { recorded: undefined, written: new Set(), next: undefined, gone: false, running: false };
      this.#sessions.set(session, state);
    }
    state.next = incident;
    state.gone ||= gone;
    if (!state.running) {
      state.running = true;
      void this.#work(session, state).finally(() => {
        state.running = false;
        if (state.gone || this.#sealed.has(session)) this.#sessions.delete(session);
      });
    }
  }

  async #work(session: string, state: Session): Promise<void> {
    let failures = 0;
    while (state.next !== undefined && !this.#options.signal.aborted) {
      const incident = state.next;
      state.next = undefined;
      try {
        await this.#record(session, state, incident);
        failures = 0;
      } catch (error) {
        state.next ??= incident;
        failures += 1;
        const { logger, signal } = this.#options;
        logger.warn(
          { session, error: errorMessage(error) },
          'the lifecycle of the Incident cannot be recorded; retrying',
        );
        await pause(backoffMs(failures, BACKOFF), signal);
      }
    }
  }

  async #record(session: string, state: Session, incident: Incident): Promise<void> {
    const { log, onRecord, checkAnchor } = this.#options;
    // A broken log is evidence. It is neither continued nor sealed.
    if ((await checkAnchor(incident)) !== undefined) return;
    if (state.recorded === undefined) {
      const head = await log.head(session);
      if (head?.sealed) {
        this.#sealed.add(session);
        if (!state.gone) onRecord(session, true);
        return;
      }
      // The Incident finished without this gateway, and the log never saw it (for example after a
      // change of volumes). There is nothing left to record.
      if (head === undefined && isTrue(incident.status?.conditions, CONDITIONS.Finished)) return;
      const entries = head === undefined ? [] : await this.#readAll(session);
      for (const { kind, writer, clientKey } of entries) {
        if (writer === 'gateway' && kind === 'lifecycle') state.written.add(clientKey);
      }
      state.recorded = restore(entries);
    }
    for (const { attempt, entry } of lifecycleEntries(state.recorded, incident)) {
      if (state.written.has(entry.clientKey)) continue;
      try {
        await log.append({ session, attempt, writer: 'gateway' }, entry);
      } catch (error) {
        // An earlier version of the gateway recorded the step with a different text. Keep that
        // entry. A session that has used up its share goes on without what recurs.
        if (!(error instanceof AuditConflict) && !(error instanceof LimitReached)) throw error;
      }
      state.written.add(entry.clientKey);
    }
    state.recorded = recordedState(incident);
    const attempt = incident.status?.attempts?.at(-1)?.number ?? 0;
    const { namespace = '', name, uid } = incident.metadata;
    if (state.gone && !(await this.#options.isGone({ namespace, name, uid }))) state.gone = false;
    if (state.gone) {
      await this.#seal(session, attempt, 'Deleted', 'the Incident was deleted');
    } else if (sealRequested(incident)) {
      const { outcome, message } = describeEnd(incident);
      await this.#seal(session, attempt, outcome, message);
      onRecord(session, true);
    }
  }

  async #seal(session: string, attempt: number, outcome: string, message: string): Promise<void> {
    const { log, inFlight, logger, drainMs = 5000 } = this.#options;
    // Their streams have already been cut. Only their outcomes are missing.
    if (!(await inFlight.drained(session, drainMs))) {
      logger.warn({ session }, 'requests are still in progress; the session is sealed without their outcome');
    }
    const authorship = { session, attempt, writer: 'gateway' } as const;
    try {
      await log.append(authorship, outcomeEntry(outcome, message));
    } catch (error) {
      // An earlier gateway process stopped between outcome and seal, or after the seal.
      if (!(error instanceof AuditConflict) && !(error instanceof SessionSealed)) throw error;
    }
    const head = await log.seal(authorship, sealEntry(outcome));
    this.#sealed.add(session);
    logger.info({ session, outcome, entries: head.entries }, 'session sealed');
  }

  async #readAll(session: string): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (;;) {
      const page = await this.#options.log.read(session, { afterSeq: entries.at(-1)?.seq ?? 0, limit: PAGE });
      entries.push(...page);
      if (page.length < PAGE) return entries;
    }
  }
}

/** How the Incident ends. The message of the controller's request to seal is the final phase. */
function describeEnd(incident: Incident): { outcome: string; message: string } {
  const { conditions, phase } = incident.status ?? {};
  const request = findCondition(conditions, CONDITIONS.AuditSealed);
  const finished = findCondition(conditions, CONDITIONS.Finished);
  const word = /^[A-Za-z]+$/;
  const requested = request?.reason === 'SealRequested' && word.test(request.message) ? request.message : undefined;
  return { outcome: requested ?? phase ?? finished?.reason ?? 'Finished', message: finished?.message ?? '' };
}
