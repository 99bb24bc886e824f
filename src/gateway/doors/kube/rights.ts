// Asks the API server whether an attempt's account may do what a request wants, so that no work is
// done on the body of a write that it refuses anyway.

import * as z from 'zod';
import { readAnswer } from '../../../net/answer-body.ts';
import type { Lease } from '../../leases.ts';
import type { ApiServer } from './api-server.ts';
import { AUDIT_ID, createAuditID } from './audit-id.ts';
import type { KubeRequest } from './classify.ts';
import { describeAccess, forbidden, type KubeStatus } from './forbidden-status.ts';

/**
 * How long an answer is used, in milliseconds. The API server checks every forwarded request
 * itself, so an old "allowed" only costs work. An old refusal refuses what may be allowed by now.
 */
const REMEMBER_MS = { allowed: 10_000, refused: 2000 } as const;
const MAX_REMEMBERED = 10_000;
/** How long a review may take, in milliseconds. Without it, the request takes its usual way. */
const REVIEW_MS = 2000;
const MAX_ANSWER = 64 * 1024;

const review = z.looseObject({
  status: z.looseObject({
    allowed: z.boolean(),
    reason: z.string().default(''),
    evaluationError: z.string().optional(),
  }),
});

/** Undefined if the write is allowed, or if that is not known. */
type Refusal = KubeStatus | undefined;

export class Rights {
  readonly #apiServer: Pick<ApiServer, 'request'>;
  readonly #namespace: string;
  readonly #now: () => number;
  readonly #remembered = new Map<string, { readonly refusal: Refusal; readonly until: number }>();
  readonly #inProgress = new Map<string, Promise<Refusal>>();

  /** @param options.namespace the namespace of the attempts' service accounts */
  constructor(options: { apiServer: Pick<ApiServer, 'request'>; namespace: string; now?: () => number }) {
    this.#apiServer = options.apiServer;
    this.#namespace = options.namespace;
    this.#now = options.now ?? Date.now;
  }

  /**
   * The API server's refusal of a request, if it would refuse it. Never throws: if the API server
   * does not say, the request is not refused here.
   * @param token of the attempt's account, which every account may ask about itself
   */
  async findRefusal(
    lease: Pick<Lease, 'podUID' | 'serviceAccountName'>,
    token: string,
    method: string,
    wanted: KubeRequest,
  ): Promise<Refusal> {
    const access = describeAccess(method, wanted);
    const key = JSON.stringify([lease.podUID, access]);
    const known = this.#remembered.get(key);
    if (known !== undefined && this.#now() < known.until) return known.refusal;
    this.#remembered.delete(key);
    let pending = this.#inProgress.get(key);
    if (pending === undefined) {
      const user = `system:serviceaccount:${this.#namespace}:${lease.serviceAccountName}`;
      pending = this.#review(key, user, token, access).finally(() => this.#inProgress.delete(key));
      this.#inProgress.set(key, pending);
    }
    return await pending;
  }

  async #review(key: string, user: string, token: string, access: ReturnType<typeof describeAccess>): Promise<Refusal> {
    try {
      const { allowed, reason, evaluationError } = await this.#ask(token, access);
      // With an error, some rules were not looked at.
      if (!allowed && evaluationError !== undefined) return undefined;
      const refusal = allowed ? undefined : forbidden(user, access, reason);
      const until = this.#now() + (allowed ? REMEMBER_MS.allowed : REMEMBER_MS.refused);
      const [oldest] = this.#remembered.keys();
      if (this.#remembered.size >= MAX_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
      this.#remembered.set(key, { refusal, until });
      return refusal;
    } catch {
      // The API server decides when the request arrives.
      return undefined;
    }
  }

  async #ask(token: string, access: ReturnType<typeof describeAccess>) {
    const body = Buffer.from(
      JSON.stringify({
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec:
          access.type === 'resource'
            ? { resourceAttributes: access.attributes }
            : { nonResourceAttributes: access.attributes },
      }),
    );
    const outgoing = this.#apiServer.request(
      {
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          'content-length': body.length,
          'user-agent': 'oplab-gateway',
          [AUDIT_ID]: createAuditID('gateway'),
        },
        body,
      },
      { token, limits: { whole: REVIEW_MS } },
    );
    outgoing.body.end(body);
    const answer = await outgoing.receiveResponse();
    return review.parse(JSON.parse((await readAnswer(answer, MAX_ANSWER)).toString('utf8'))).status;
  }
}
