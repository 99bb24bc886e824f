// What checks need to run: the read-only identity of their AgentClass, CEL, and API discovery.

import { Cel } from '../checks/cel.ts';
import { Discovery } from '../checks/discovery.ts';
import type { CheckContext } from '../checks/observe.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Seams } from './seams.ts';
import { VerifyIdentity } from './verify-identity.ts';

export class ClassChecks {
  readonly #identities: VerifyIdentity;
  readonly #seams: Pick<Seams, 'now' | 'fetch'>;
  readonly #cel = new Cel({ hasSpare: true });
  readonly #discovery = new Discovery();

  constructor(client: KubeClient, agentsNamespace: string, seams: Pick<Seams, 'now' | 'fetch'>) {
    this.#identities = new VerifyIdentity(client, agentsNamespace);
    this.#seams = seams;
  }

  /**
   * Observes with the read-only identity of the class.
   * @param namespace of the Incident or Monitor: slow expressions delay the checks of no other one
   */
  contextFor(className: string, namespace: string | undefined): CheckContext {
    const { now, fetch } = this.#seams;
    return {
      kube: this.#identities.clientFor(className),
      fetch,
      cel: this.#cel.for(namespace),
      discovery: this.#discovery,
      now,
    };
  }

  /** What is wrong with the syntax of a CEL expression; undefined if nothing is. */
  syntaxError(expression: string, namespace: string | undefined): Promise<string | undefined> {
    return this.#cel.syntaxError(expression, namespace);
  }

  close(): Promise<void> {
    return this.#cel.close();
  }
}
