// All leases, kept in memory from watches of Incidents and agent pods. Checked for each request and
// each chunk of a stream.

import * as z from 'zod';
import { ANNOTATION_CANARY_NAMESPACES, type AttemptId } from '../api/canary.ts';
import { LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../api/group.ts';
import { CONDITIONS, type Incident, sessionId } from '../api/incident.ts';
import { isTrue } from '../api/meta.ts';
import {
  currentAttempt,
  describeLimit,
  type Lease,
  type LeaseDecision,
  type Limit,
  leaseFor,
  type Purpose,
  requireLease,
} from './leases.ts';

/** The fields of an agent pod that a lease depends on. */
export const agentPod = z.object({
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  status: z.looseObject({ podIPs: z.array(z.looseObject({ ip: z.string() })).default([]) }).optional(),
});
export type AgentPod = z.infer<typeof agentPod>;

/** The caller, as proven by its token. */
export interface Bearer {
  readonly podUID: string;
  readonly podName: string;
  readonly serviceAccount: string;
}

/**
 * `reserved` is a model call with a reservation. It may finish after another call reached a limit.
 */
export type HoldPurpose = Purpose | 'reserved';

/** A hold on a stream that must not outlive its lease. */
export interface Hold {
  /** False once the lease has ended. Checked for each chunk. */
  alive(): boolean;
  /** Releases the hold when the stream has ended. */
  release(): void;
}

interface Watched<T> {
  readonly type: 'added' | 'modified' | 'deleted';
  readonly object: T;
  readonly previous?: T;
}

interface Held {
  readonly bearer: Bearer;
  readonly purpose: HoldPurpose;
  readonly onDeath: (message: string) => void;
}

/**
 * How often to look for leases that ended without an event (a deadline, a reached limit), in
 * milliseconds.
 */
const SWEEP_MS = 200;

export class LeaseRegistry {
  readonly #incidents = new Map<string, Incident>();
  readonly #pods = new Map<string, AgentPod>();
  /** Deleted pods. Their tokens may still be cached, but their leases are dead. */
  readonly #gone = new Set<string>();
  readonly #held = new Set<Held>();
  readonly #limitReached: (session: string) => Limit | undefined;
  readonly #auditBroken: (session: string) => string | undefined;
  readonly #unexplained: (session: string) => string | undefined;
  readonly #tripwireTouched: (session: string) => string | undefined;
  readonly #now: () => number;
  readonly #onCut: () => void;

  constructor(options: {
    /** The limit that a session's budget has reached. */
    limitReached: (session: string) => Limit | undefined;
    /** Why the log of a session contradicts the status. Such a session has no lease. */
    auditBroken?: (session: string) => string | undefined;
    /** The write of a session that no command explains. Such a session has no lease. */
    unexplained?: (session: string) => string | undefined;
    /** What a session has touched. Such a session has no lease. */
    tripwireTouched?: (session: string) => string | undefined;
    now?: () => number;
    /** Called for each stream that is cut. */
    onCut?: () => void;
    signal?: AbortSignal;
  }) {
    this.#limitReached = options.limitReached;
    this.#auditBroken = options.auditBroken ?? (() => undefined);
    this.#unexplained = options.unexplained ?? (() => undefined);
    this.#tripwireTouched = options.tripwireTouched ?? (() => undefined);
    this.#now = options.now ?? Date.now;
    this.#onCut = options.onCut ?? (() => {});
    const timer = setInterval(() => this.sweep(), SWEEP_MS);
    timer.unref();
    options.signal?.addEventListener('abort', () => clearInterval(timer), { once: true });
  }

  /** Applies a change of an Incident. Cuts streams whose lease died before it returns. */
  incidentChanged(event: Watched<Incident>): void {
    const { object, previous } = event;
    // The reflector's key is the name. An Incident recreated with the same name is a different one.
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) {
      this.#incidents.delete(previous.metadata.uid);
    }
    if (event.type === 'deleted') this.#incidents.delete(object.metadata.uid);
    else this.#incidents.set(object.metadata.uid, object);
    this.sweep();
  }

  /** Applies a change of an agent pod. */
  podChanged(event: Watched<AgentPod>): void {
    const { object, previous } = event;
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) this.#podGone(previous.metadata.uid);
    if (event.type === 'deleted') this.#podGone(object.metadata.uid);
    else this.#pods.set(object.metadata.uid, object);
    this.sweep();
  }

  /** The Incident of a session, as last seen. */
  incident(session: string): Incident | undefined {
    return this.#incidents.get(session);
  }

  /** All Incidents, as last seen. */
  incidents(): Incident[] {
    return [...this.#incidents.values()];
  }

  /** The number of streams held open. */
  get held(): number {
    return this.#held.size;
  }

  /** The number of attempts with a live lease. */
  get live(): number {
    let live = 0;
    for (const incident of this.#incidents.values()) {
      const attempt = incident.status?.attempts?.at(-1);
      if (attempt?.podUID === undefined) continue;
      const { podUID, podName, serviceAccountName } = attempt;
      if (this.decide({ podUID, podName, serviceAccount: serviceAccountName }).state === 'live') live += 1;
    }
    return live;
  }

  /** The latest attempt of every Incident that has not finished. */
  attempts(): AttemptId[] {
    return this.incidents().flatMap((incident) => {
      const number = currentAttempt(incident)?.number;
      const isOver = number === undefined || isTrue(incident.status?.conditions, CONDITIONS.Finished);
      return isOver ? [] : [{ session: sessionId(incident), attempt: number }];
    });
  }

  /** The attempt whose pod has an address, the newest if an ended one still shows the same. */
  attemptAt(address: string): AttemptId | undefined {
    const pods = [...this.#pods.values()].filter(({ status }) => status?.podIPs.some(({ ip }) => ip === address));
    const uid = pods.at(-1)?.metadata.uid;
    const known = uid === undefined ? undefined : this.#findAttempt(uid);
    return known === undefined ? undefined : { session: known.uid, attempt: known.attempt };
  }

  /** The target namespaces in which the controller placed a canary Secret for a pod. */
  canaryNamespaces(podUID: string): readonly string[] {
    const listed = this.#pods.get(podUID)?.metadata.annotations?.[ANNOTATION_CANARY_NAMESPACES] ?? '';
    return listed.split(',').filter((namespace) => namespace !== '');
  }

  decide(bearer: Bearer): LeaseDecision {
    if (this.#gone.has(bearer.podUID)) return { state: 'dead', message: 'the pod no longer exists' };
    const known = this.#findAttempt(bearer.podUID);
    if (known === undefined) {
      return { state: 'pending', message: `pod ${bearer.podName} is not known yet` };
    }
    const { uid, attempt } = known;
    const broken = this.#auditBroken(uid);
    if (broken !== undefined) return { state: 'dead', message: `the audit log is broken (AuditBroken): ${broken}` };
    const unexplained = this.#unexplained(uid);
    if (unexplained !== undefined) return { state: 'dead', message: `UnexplainedWrite: ${unexplained}` };
    const touched = this.#tripwireTouched(uid);
    if (touched !== undefined) return { state: 'dead', message: touched };
    const decision = leaseFor(this.#incidents.get(uid), attempt, bearer.podUID, this.#limitReached(uid), this.#now());
    if ('lease' in decision && decision.lease.serviceAccountName !== bearer.serviceAccount) {
      return { state: 'dead', message: `the attempt runs as ${decision.lease.serviceAccountName}` };
    }
    return decision;
  }

  /**
   * The caller's lease. @throws NoLease (final), NoLeaseYet (retry), LimitReached (final, only to
   * act)
   */
  require(bearer: Bearer, purpose: Purpose): Lease {
    return requireLease(this.decide(bearer), purpose);
  }

  /**
   * Ties a stream to a lease. Calls `onDeath` once, at most one sweep interval after the lease
   * died.
   */
  hold(bearer: Bearer, purpose: HoldPurpose, onDeath: (message: string) => void): Hold {
    const held: Held = { bearer, purpose, onDeath };
    this.#held.add(held);
    return {
      alive: () => this.#held.has(held) && this.#lost(held) === undefined,
      release: () => {
        this.#held.delete(held);
      },
    };
  }

  /** Cuts every stream whose lease has ended. */
  sweep(): void {
    for (const held of this.#held) {
      const lost = this.#lost(held);
      if (lost === undefined) continue;
      this.#held.delete(held);
      this.#onCut();
      held.onDeath(lost);
    }
  }

  #lost(held: Held): string | undefined {
    const decision = this.decide(held.bearer);
    if (decision.state === 'live') return undefined;
    if (decision.state === 'reached') {
      const tolerated = held.purpose === 'report' || (held.purpose === 'reserved' && decision.limit !== 'time');
      return tolerated ? undefined : describeLimit(decision.limit);
    }
    return decision.message;
  }

  #findAttempt(podUID: string): { uid: string; attempt: number } | undefined {
    // Only the controller writes the labels. The Incident's status decides whether they are true.
    const labels = this.#pods.get(podUID)?.metadata.labels;
    const uid = labels?.[LABEL_INCIDENT_UID];
    const attempt = Number(labels?.[LABEL_ATTEMPT]);
    if (uid !== undefined && Number.isInteger(attempt)) return { uid, attempt };
    for (const incident of this.#incidents.values()) {
      const attemptOfPod = incident.status?.attempts?.find((candidate) => candidate.podUID === podUID);
      if (attemptOfPod !== undefined) return { uid: incident.metadata.uid, attempt: attemptOfPod.number };
    }
    return undefined;
  }

  #podGone(uid: string): void {
    this.#pods.delete(uid);
    this.#gone.add(uid);
    // Tokens are cached for at most a minute, and one gateway serves far fewer pods than this per
    // minute.
    if (this.#gone.size > 10_000) {
      const [oldest] = this.#gone;
      if (oldest !== undefined) this.#gone.delete(oldest);
    }
  }
}
