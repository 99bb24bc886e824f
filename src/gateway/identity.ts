// Identifies callers: TokenReview maps a projected token to a pod. Results are cached briefly.

import { createHash } from 'node:crypto';
import * as z from 'zod';
import { TooBusy, Unauthenticated, UpstreamUnavailable } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { TOKEN_REVIEWS } from '../kube/resources.ts';
import { Concurrency } from './concurrency.ts';
import type { Bearer } from './lease-registry.ts';

/** A proven caller. */
export interface Identity extends Bearer {
  readonly audience: string;
}

const review = z.looseObject({
  status: z.looseObject({
    authenticated: z.boolean().default(false),
    audiences: z.array(z.string()).default([]),
    error: z.string().optional(),
    user: z
      .looseObject({ username: z.string(), extra: z.record(z.string(), z.array(z.string())).default({}) })
      .optional(),
  }),
});

const POD_NAME = 'authentication.kubernetes.io/pod-name';
const POD_UID = 'authentication.kubernetes.io/pod-uid';

/**
 * The longest time that a positive result is cached, in milliseconds. The lease is checked each
 * time.
 */
const REMEMBER_MS = 60_000;
const MAX_REMEMBERED = 10_000;
/**
 * The number of concurrent reviews, so that a flood of fake tokens does not flood the API server.
 */
const MAX_REVIEWS = 64;
/** The number of concurrent reviews for one address, so that one pod cannot take them all. */
const MAX_REVIEWS_PER_ADDRESS = 4;

/**
 * Claims that are read before the signature is checked, to reject most invalid tokens without a
 * review.
 */
const unverifiedClaims = z.looseObject({
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  exp: z.number().optional(),
});

export class Identities {
  readonly #client: Pick<KubeClient, 'create'>;
  readonly #namespace: string;
  readonly #now: () => number;
  readonly #remembered = new Map<string, { identity: Identity; until: number }>();
  readonly #inProgress = new Map<string, Promise<Identity>>();
  readonly #perAddress = new Concurrency(MAX_REVIEWS_PER_ADDRESS);

  /** @param options.namespace only service accounts of this namespace may call */
  constructor(options: { client: Pick<KubeClient, 'create'>; namespace: string; now?: () => number }) {
    this.#client = options.client;
    this.#namespace = options.namespace;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Identifies the pod behind an Authorization header by a token issued for `audience`.
   * @param address where the request comes from
   * @throws Unauthenticated, TooBusy, UpstreamUnavailable when the API server cannot review the
   * token
   */
  async prove(authorization: string | undefined, audience: string, address: string): Promise<Identity> {
    const token = /^Bearer +([A-Za-z0-9._~+/=-]{1,16384})$/i.exec(authorization ?? '')?.[1];
    if (token === undefined)
      throw new Unauthenticated("no bearer token: send the pod's projected token in the Authorization header");
    const now = this.#now();
    const key = createHash('sha256').update(`${audience}\n${token}`).digest('hex');
    const known = this.#remembered.get(key);
    if (known !== undefined && now < known.until) return known.identity;
    this.#remembered.delete(key);
    const expires = this.#readExpiry(token, audience, now);
    let pending = this.#inProgress.get(key);
    if (pending === undefined) {
      if (this.#inProgress.size >= MAX_REVIEWS) throw new TooBusy('too many tokens are being reviewed; try again');
      const leave = this.#perAddress.enter(address);
      pending = this.#review(token, audience).finally(() => {
        this.#inProgress.delete(key);
        leave();
      });
      this.#inProgress.set(key, pending);
    }
    const identity = await pending;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#forgetOldest();
    this.#remembered.set(key, { identity, until: Math.min(now + REMEMBER_MS, expires) });
    return identity;
  }

  #forgetOldest(): void {
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }

  /**
   * The token's claimed expiry in epoch milliseconds. Unverified claims are used only to reject a
   * token.
   */
  #readExpiry(token: string, audience: string, now: number): number {
    const payload = token.split('.')[1] ?? '';
    let decoded: unknown;
    try {
      decoded = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    } catch {
      throw new Unauthenticated('the token is not a service account token');
    }
    const claims = unverifiedClaims.safeParse(decoded);
    if (!claims.success) throw new Unauthenticated('the token is not a service account token');
    const audiences = [claims.data.aud ?? []].flat();
    if (!audiences.includes(audience)) {
      throw new Unauthenticated(`this door accepts only tokens with audience ${audience}`);
    }
    const expires = (claims.data.exp ?? 0) * 1000;
    if (expires <= now) throw new Unauthenticated('the token has expired; read its file again');
    return expires;
  }

  async #review(token: string, audience: string): Promise<Identity> {
    let answer: unknown;
    try {
      answer = await this.#client.create(TOKEN_REVIEWS, { spec: { token, audiences: [audience] } });
    } catch (error) {
      throw new UpstreamUnavailable('the API server cannot review the token now; try again', error);
    }
    const { status } = review.parse(answer);
    if (!status.authenticated || !status.audiences.includes(audience)) {
      throw new Unauthenticated(status.error ?? 'the token is not valid for this door');
    }
    const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '');
    const podUID = status.user?.extra[POD_UID]?.[0];
    const podName = status.user?.extra[POD_NAME]?.[0];
    if (account?.[1] !== this.#namespace || account[2] === undefined || podUID === undefined || podName === undefined) {
      throw new Unauthenticated(`only pods of namespace ${this.#namespace} may call`);
    }
    return { podUID, podName, serviceAccount: account[2], audience };
  }
}
