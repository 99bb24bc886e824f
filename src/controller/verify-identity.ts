// The read-only service account that runs the checks of an AgentClass, and its tokens.

import * as z from 'zod';
import type { KubeClient } from '../kube/client.ts';
import { SERVICE_ACCOUNTS } from '../kube/resources.ts';
import { verifyAccountName } from './verify-account.ts';

const tokenRequest = z.looseObject({ status: z.object({ token: z.string(), expirationTimestamp: z.string() }) });

/** The requested lifetime of a token, in seconds; the API server may grant less. */
const TOKEN_SECONDS = 3600;

export class VerifyIdentity {
  readonly #client: KubeClient;
  readonly #agentsNamespace: string;
  readonly #clients = new Map<string, KubeClient>();

  constructor(client: KubeClient, agentsNamespace: string) {
    this.#client = client;
    this.#agentsNamespace = agentsNamespace;
  }

  /**
   * A client that can read what the readRoles of the class allow in the targets of its Incidents.
   */
  clientFor(className: string): KubeClient {
    const known = this.#clients.get(className);
    if (known !== undefined) return known;
    const client = this.#client.withToken(this.#tokenSource(className));
    this.#clients.set(className, client);
    return client;
  }

  #tokenSource(className: string): () => Promise<string> {
    let current: { token: string; renewAt: number } | undefined;
    let renewal: Promise<string> | undefined;
    const renew = async () => {
      const requestedAt = Date.now();
      const answer = await this.#client.createSubresource(
        SERVICE_ACCOUNTS,
        { namespace: this.#agentsNamespace, name: verifyAccountName(className) },
        'token',
        {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { expirationSeconds: TOKEN_SECONDS },
        },
      );
      const { token, expirationTimestamp } = tokenRequest.parse(answer).status;
      current = { token, renewAt: requestedAt + (Date.parse(expirationTimestamp) - requestedAt) * 0.7 };
      return token;
    };
    return () => {
      if (current !== undefined && Date.now() < current.renewAt) return Promise.resolve(current.token);
      renewal ??= renew().finally(() => {
        renewal = undefined;
      });
      return renewal;
    };
  }
}
