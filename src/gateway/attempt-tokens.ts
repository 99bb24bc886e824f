// Tokens of the attempts' service accounts: requested with TokenRequest, bound to the pod, and
// cached until shortly before they expire.

import * as z from 'zod';
import { errorMessage, NoLease, UpstreamUnavailable } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isInvalid, isNotFound } from '../kube/errors.ts';
import { SERVICE_ACCOUNTS } from '../kube/resources.ts';
import type { Lease } from './leases.ts';

const tokenRequest = z.looseObject({
  status: z.looseObject({ token: z.string().min(1), expirationTimestamp: z.string() }),
});

/** The shortest lifetime that the API server grants, in seconds. */
const LIFE_SECONDS = 600;
/** A token is renewed when its remaining lifetime is less than this, in milliseconds. */
const RENEW_BEFORE_MS = 120_000;

export class AttemptTokens {
  readonly #client: Pick<KubeClient, 'createSubresource'>;
  readonly #namespace: string;
  readonly #now: () => number;
  readonly #tokens = new Map<string, { token: string; expires: number }>();
  readonly #inProgress = new Map<string, Promise<string>>();

  /** @param options.namespace the namespace of the agents' pods and service accounts */
  constructor(options: { client: Pick<KubeClient, 'createSubresource'>; namespace: string; now?: () => number }) {
    this.#client = options.client;
    this.#namespace = options.namespace;
    this.#now = options.now ?? Date.now;
  }

  /**
   * A token for the lease's service account at the API server. It becomes invalid when the pod is
   * deleted.
   * @throws UpstreamUnavailable, NoLease
   */
  async token(lease: Lease): Promise<string> {
    const now = this.#now();
    for (const [uid, { expires }] of this.#tokens) if (expires <= now) this.#tokens.delete(uid);
    const known = this.#tokens.get(lease.podUID);
    if (known !== undefined && known.expires - now > RENEW_BEFORE_MS) return known.token;
    let pending = this.#inProgress.get(lease.podUID);
    if (pending === undefined) {
      pending = this.#request(lease).finally(() => this.#inProgress.delete(lease.podUID));
      this.#inProgress.set(lease.podUID, pending);
    }
    return await pending;
  }

  async #request(lease: Lease): Promise<string> {
    const ref = { name: lease.serviceAccountName, namespace: this.#namespace };
    try {
      const answer = await this.#client.createSubresource(SERVICE_ACCOUNTS, ref, 'token', {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          expirationSeconds: LIFE_SECONDS,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: lease.podName, uid: lease.podUID },
        },
      });
      const { token, expirationTimestamp } = tokenRequest.parse(answer).status;
      this.#tokens.set(lease.podUID, { token, expires: Date.parse(expirationTimestamp) });
      return token;
    } catch (error) {
      if (isNotFound(error))
        throw new NoLease(`the attempt's service account or pod no longer exists: ${errorMessage(error)}`);
      const hint =
        isForbidden(error) || isInvalid(error)
          ? 'the gateway is not allowed to request tokens for the attempt'
          : 'try again';
      throw new UpstreamUnavailable(
        `the API server issued no token for service account ${ref.name}: ${errorMessage(error)}; ${hint}`,
        error,
      );
    }
  }
}
