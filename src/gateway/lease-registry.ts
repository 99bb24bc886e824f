// All leases, kept in memory from the watches of Incidents and agent pods: asked per request and per chunk, and quick to cut.

import { z } from 'zod';
import { LABEL_ATTEMPT, LABEL_INCIDENT_UID } from '../api/group.ts';
import type { Incident } from '../api/incident.ts';
import { type Lease, type LeaseDecision, type Limit, leaseFor, type Purpose, requireLease } from './leases.ts';

/** The little of an agent pod that a lease depends on. */
export const agentPod = z.object({
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
  }),
});
export type AgentPod = z.infer<typeof agentPod>;

/** Who asks, as proven by its token. */
export interface Bearer {
  readonly podUID: string;
  readonly podName: string;
  readonly serviceAccount: string;
}

/** Besides, what is held open: `reserved` is a model call within the budget, which may end though another one was refused. */
export type HoldPurpose = Purpose | 'reserved';

/** A stream that must not outlive its lease. */
export interface Hold {
  /** False once the lease is dead; asked per chunk. */
  alive(): boolean;
  /** The stream has ended by itself. */
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

/** Deaths that no event tells of (a deadline, a limit that is reached) are found this often, in milliseconds. */
const SWEEP_MS = 200;

export class LeaseRegistry {
  readonly #incidents = new Map<string, Incident>();
  readonly #pods = new Map<string, AgentPod>();
  /** Pods that were seen to go: their tokens may be cached for a while, their leases are not. */
  readonly #gone = new Set<string>();
  readonly #held = new Set<Held>();
  readonly #limitReached: (session: string) => Limit | undefined;
  readonly #now: () => number;
  readonly #onCut: () => void;

  constructor(options: {
    /** The limit that a session's budget has run into. */
    limitReached: (session: string) => Limit | undefined;
    now?: () => number;
    /** Called for each stream that is cut. */
    onCut?: () => void;
    signal?: AbortSignal;
  }) {
    this.#limitReached = options.limitReached;
    this.#now = options.now ?? Date.now;
    this.#onCut = options.onCut ?? (() => {});
    const timer = setInterval(() => this.sweep(), SWEEP_MS);
    timer.unref();
    options.signal?.addEventListener('abort', () => clearInterval(timer), { once: true });
  }

  /** Feeds a change of an Incident in; streams whose lease dies by it are cut before this returns. */
  incidentChanged(event: Watched<Incident>): void {
    const { object, previous } = event;
    // The reflector's key is the name; a namesake that came after a deletion is another Incident.
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) {
      this.#incidents.delete(previous.metadata.uid);
    }
    if (event.type === 'deleted') this.#incidents.delete(object.metadata.uid);
    else this.#incidents.set(object.metadata.uid, object);
    this.sweep();
  }

  /** Feeds a change of an agent pod in. */
  podChanged(event: Watched<AgentPod>): void {
    const { object, previous } = event;
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) this.#podGone(previous.metadata.uid);
    if (event.type === 'deleted') this.#podGone(object.metadata.uid);
    else this.#pods.set(object.metadata.uid, object);
    this.sweep();
  }

  /** An Incident by its session, as last seen. */
  incident(session: string): Incident | undefined {
    return this.#incidents.get(session);
  }

  /** How many streams are held open. */
  get held(): number {
    return this.#held.size;
  }

  /** How many attempts have a live lease. */
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

  decide(bearer: Bearer): LeaseDecision {
    if (this.#gone.has(bearer.podUID)) return { state: 'dead', message: 'the pod is gone' };
    const known = this.#attemptOf(bearer.podUID);
    if (known === undefined) {
      return { state: 'pending', message: `pod ${bearer.podName} is not known yet` };
    }
    const { uid, attempt } = known;
    const decision = leaseFor(this.#incidents.get(uid), attempt, bearer.podUID, this.#limitReached(uid), this.#now());
    if ('lease' in decision && decision.lease.serviceAccountName !== bearer.serviceAccount) {
      return { state: 'dead', message: `the attempt runs as ${decision.lease.serviceAccountName}` };
    }
    return decision;
  }

  /** The caller's lease. @throws NoLease (final), NoLeaseYet (retry), LimitReached (final, to act) */
  require(bearer: Bearer, purpose: Purpose): Lease {
    return requireLease(this.decide(bearer), purpose);
  }

  /** Ties a stream to a lease: `onDeath` is called once, at once or within the sweep's interval after the lease died. */
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

  /** Cuts every stream whose lease is dead. */
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
      return tolerated ? undefined : `the limit of ${decision.limit} is reached`;
    }
    return decision.message;
  }

  #attemptOf(podUID: string): { uid: string; attempt: number } | undefined {
    // Labels come with the pod and are written by the controller alone; the Incident's status decides whether they are true.
    const labels = this.#pods.get(podUID)?.metadata.labels;
    const uid = labels?.[LABEL_INCIDENT_UID];
    const attempt = Number(labels?.[LABEL_ATTEMPT]);
    if (uid !== undefined && Number.isInteger(attempt)) return { uid, attempt };
    for (const incident of this.#incidents.values()) {
      const entered = incident.status?.attempts?.find((candidate) => candidate.podUID === podUID);
      if (entered !== undefined) return { uid: incident.metadata.uid, attempt: entered.number };
    }
    return undefined;
  }

  #podGone(uid: string): void {
    this.#pods.delete(uid);
    this.#gone.add(uid);
    // Tokens of a pod are cached for a minute at most; a few thousand pods a minute are beyond one gateway.
    if (this.#gone.size > 10_000) {
      const [oldest] = this.#gone;
      if (oldest !== undefined) this.#gone.delete(oldest);
    }
  }
}
