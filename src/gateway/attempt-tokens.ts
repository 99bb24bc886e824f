// Tokens of the attempts' own service accounts: asked for by TokenRequest, bound to the pod, kept until shortly before they expire.

import { z } from 'zod';
import { messageOf, NoLease, UpstreamUnavailable } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { isForbidden, isInvalid, isNotFound } from '../kube/errors.ts';
import { SERVICE_ACCOUNTS } from '../kube/resources.ts';
import type { Lease } from './leases.ts';

const tokenRequest = z.looseObject({
  status: z.looseObject({ token: z.string().min(1), expirationTimestamp: z.string() }),
});

/** The shortest life that the API server grants, in seconds. */
const LIFE_SECONDS = 600;
/** A token is renewed when less than this is left of it, in milliseconds. */
const RENEW_BEFORE_MS = 120_000;

export class AttemptTokens {
  readonly #client: Pick<KubeClient, 'createSubresource'>;
  readonly #namespace: string;
  readonly #now: () => number;
  readonly #tokens = new Map<string, { token: string; expires: number }>();
  readonly #underWay = new Map<string, Promise<string>>();

  /** @param namespace where the agents' pods and accounts live */
  constructor(options: { client: Pick<KubeClient, 'createSubresource'>; namespace: string; now?: () => number }) {
    this.#client = options.client;
    this.#namespace = options.namespace;
    this.#now = options.now ?? Date.now;
  }

  /** A token for the API server that acts as the lease's account and dies with its pod. @throws UpstreamUnavailable, NoLease */
  async token(lease: Lease): Promise<string> {
    const now = this.#now();
    for (const [uid, { expires }] of this.#tokens) if (expires <= now) this.#tokens.delete(uid);
    const known = this.#tokens.get(lease.podUID);
    if (known !== undefined && known.expires - now > RENEW_BEFORE_MS) return known.token;
    let pending = this.#underWay.get(lease.podUID);
    if (pending === undefined) {
      pending = this.#request(lease).finally(() => this.#underWay.delete(lease.podUID));
      this.#underWay.set(lease.podUID, pending);
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
      if (isNotFound(error)) throw new NoLease(`the attempt's account or pod is gone: ${messageOf(error)}`);
      const hint = isForbidden(error) || isInvalid(error) ? 'the gateway may not act as the attempt' : 'try again';
      throw new UpstreamUnavailable(`no token for account ${ref.name}: ${messageOf(error)}; ${hint}`, error);
    }
  }
}
