// Leader election with a coordination.k8s.io Lease.
//
// It limits which process works, but is not a lock: a stale leader is harmless because its writes
// conflict on resource versions.

import * as z from 'zod';
import { errorMessage } from '../errors.ts';
import { pause } from '../net/retry.ts';
import type { KubeClient, KubeObject } from './client.ts';
import { isAlreadyExists, isConflict, isNotFound } from './errors.ts';
import { type Log, SILENT } from './log.ts';
import { LEASES } from './resources.ts';

export interface LeaderLeaseOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'patch'>;
  readonly namespace: string;
  readonly name: string;
  /** Unique per process: the pod's name and a random part. */
  readonly identity: string;
  /** After this time without a renewal, another process may take over. In seconds. */
  readonly durationSeconds?: number;
  /** After this time without a renewal, the leader gives up. In seconds, less than the duration. */
  readonly renewDeadlineSeconds?: number;
  readonly retrySeconds?: number;
  readonly logger?: Log;
}

const leaseSpec = z.looseObject({
  holderIdentity: z.string().nullish(),
  renewTime: z.string().nullish(),
  leaseDurationSeconds: z.number().nullish(),
  leaseTransitions: z.number().nullish(),
});

export class LeaderLease {
  readonly #options: LeaderLeaseOptions;
  readonly #log: Log;
  /**
   * The record that was last read, and when by our own clock, so that no two clocks are compared.
   */
  #seen: { renewTime: string; holder: string; at: number } | undefined;
  #leading = false;

  constructor(options: LeaderLeaseOptions) {
    this.#options = options;
    this.#log = options.logger ?? SILENT;
  }

  get isLeading(): boolean {
    return this.#leading;
  }

  /**
   * Waits for the lease, then runs `lead` with a signal that aborts when the lease is lost or
   * `signal` aborts. Resolves when `lead` has ended and the lease is released.
   * @throws Error if the lease was lost. The process should then end, so that no work of the former
   * leader continues.
   */
  async run(signal: AbortSignal, lead: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const retryMs = (this.#options.retrySeconds ?? 2) * 1000;
    while (!signal.aborted && !(await this.#tryAcquire())) await pause(retryMs * (0.9 + Math.random() / 5), signal);
    if (signal.aborted) return;
    this.#leading = true;
    this.#log.info({ lease: this.#options.name, identity: this.#options.identity }, 'leading');
    const leadership = new AbortController();
    const stop = () => leadership.abort();
    signal.addEventListener('abort', stop, { once: true });
    const led = lead(leadership.signal);
    // A leader whose work ended or failed must not renew the lease, because no other process could
    // work then.
    led.then(stop, stop);
    const lost = await this.#renew(leadership.signal, retryMs);
    this.#leading = false;
    leadership.abort();
    signal.removeEventListener('abort', stop);
    try {
      await led;
    } finally {
      if (!lost) await this.#release();
    }
    if (lost) throw new Error(`the lease ${this.#options.namespace}/${this.#options.name} was lost`);
  }

  /** Renews the lease until the signal aborts (false) or the lease is lost (true). */
  async #renew(signal: AbortSignal, retryMs: number): Promise<boolean> {
    const deadlineMs = (this.#options.renewDeadlineSeconds ?? 10) * 1000;
    let renewedAt = Date.now();
    while (!signal.aborted) {
      await pause(retryMs, signal);
      if (signal.aborted) return false;
      const left = renewedAt + deadlineMs - Date.now();
      // The call may hang for longer than the lease is valid.
      const renewed = await Promise.race([this.#tryAcquire(), pause(Math.max(1, left), signal).then(() => false)]);
      if (signal.aborted) return false;
      if (renewed) renewedAt = Date.now();
      else if (Date.now() - renewedAt >= deadlineMs || this.#heldByAnother()) return true;
    }
    return false;
  }

  #heldByAnother(): boolean {
    return this.#seen !== undefined && this.#seen.holder !== '' && this.#seen.holder !== this.#options.identity;
  }

  async #tryAcquire(): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    const durationSeconds = this.#options.durationSeconds ?? 15;
    try {
      const now = microTime();
      let current: KubeObject;
      try {
        current = await client.get(LEASES, { namespace, name });
      } catch (error) {
        if (!isNotFound(error)) throw error;
        const spec = {
          holderIdentity: identity,
          leaseDurationSeconds: durationSeconds,
          acquireTime: now,
          renewTime: now,
          leaseTransitions: 0,
        };
        await client.create(LEASES, { metadata: { namespace, name }, spec });
        this.#seen = { renewTime: now, holder: identity, at: Date.now() };
        return true;
      }
      const spec = leaseSpec.parse(current.spec ?? {});
      const holder = spec.holderIdentity ?? '';
      const renewTime = spec.renewTime ?? '';
      if (this.#seen?.renewTime !== renewTime || this.#seen.holder !== holder) {
        this.#seen = { renewTime, holder, at: Date.now() };
      }
      const isHeldByAnother = holder !== '' && holder !== identity;
      const isExpired = Date.now() - this.#seen.at >= (spec.leaseDurationSeconds ?? durationSeconds) * 1000;
      if (isHeldByAnother && !isExpired) return false;
      await client.patch(
        LEASES,
        { namespace, name },
        {
          metadata: { resourceVersion: current.metadata.resourceVersion },
          spec: {
            holderIdentity: identity,
            leaseDurationSeconds: durationSeconds,
            renewTime: now,
            ...(holder === identity ? {} : { acquireTime: now, leaseTransitions: (spec.leaseTransitions ?? 0) + 1 }),
          },
        },
      );
      this.#seen = { renewTime: now, holder: identity, at: Date.now() };
      return true;
    } catch (error) {
      if (!isConflict(error) && !isAlreadyExists(error)) {
        this.#log.warn({ lease: name, error: errorMessage(error) }, 'the lease cannot be read or renewed');
      }
      return false;
    }
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const current = await client.get(LEASES, { namespace, name });
      if (leaseSpec.parse(current.spec ?? {}).holderIdentity !== identity) return;
      const metadata = { resourceVersion: current.metadata.resourceVersion };
      await client.patch(
        LEASES,
        { namespace, name },
        { metadata, spec: { holderIdentity: '', renewTime: microTime() } },
      );
    } catch (error) {
      this.#log.warn({ lease: name, error: errorMessage(error) }, 'the lease cannot be released; it will expire');
    }
  }
}

/** A metav1.MicroTime. */
function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
