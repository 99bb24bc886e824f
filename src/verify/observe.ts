// Looks at all checks of an Incident at once. Nothing here throws: what cannot be seen is an observation that does not pass.

import type { Check } from '../api/check.ts';
import { messageOf } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Cel } from './cel.ts';
import type { Discovery } from './discovery.ts';
import { readHttp } from './http-check.ts';
import type { HttpFetch } from './http-fetch.ts';
import { readKubernetes } from './kubernetes-check.ts';
import { CheckUnreadable, evidence, type Observation, observation } from './observation.ts';

/** What looking needs; tests pass in their own reads and fetch. */
export interface Eyes {
  /** With the class's read-only identity. */
  readonly kube: Pick<KubeClient, 'get' | 'list' | 'read'>;
  readonly fetch: HttpFetch;
  readonly cel: Pick<Cel, 'evaluate'>;
  readonly discovery: Discovery;
  readonly now: () => Date;
}

export async function observeChecks(
  checks: readonly Check[],
  targetNamespaces: readonly string[],
  eyes: Eyes,
): Promise<Observation[]> {
  return await Promise.all(checks.map((check) => observeCheck(check, targetNamespaces, eyes)));
}

async function observeCheck(check: Check, targetNamespaces: readonly string[], eyes: Eyes): Promise<Observation> {
  try {
    const namespace = namespaceOf(check, targetNamespaces);
    const reading =
      check.http !== undefined
        ? await readHttp(check.http, namespace, eyes.kube, eyes.fetch)
        : check.kubernetes !== undefined
          ? await readKubernetes(check.kubernetes, namespace, eyes.kube, eyes.discovery)
          : undefined;
    if (reading === undefined) throw new CheckUnreadable('the check has neither http nor kubernetes');
    const expression = expressionOf(check);
    const verdict = await eyes.cel.evaluate(expression, reading.variables);
    const observed = evidence(expression, reading.shown);
    const time = eyes.now().toISOString();
    if (verdict.type === 'error')
      return observation(check.name, time, { passing: false, observed, error: verdict.message });
    return observation(check.name, time, { passing: verdict.type === 'passed', observed });
  } catch (error) {
    const forbidden = error instanceof CheckUnreadable && error.forbidden;
    return observation(check.name, eyes.now().toISOString(), { passing: false, error: messageOf(error), forbidden });
  }
}

/** Where a check looks; default: the first target. @throws CheckUnreadable outside of the targets */
export function namespaceOf(check: Check, targetNamespaces: readonly string[]): string {
  const namespace = check.http?.namespace ?? check.kubernetes?.namespace ?? targetNamespaces[0] ?? '';
  if (!targetNamespaces.includes(namespace)) {
    throw new CheckUnreadable(
      `namespace ${namespace} is not one of the Incident's targets: ${targetNamespaces.join(', ')}`,
    );
  }
  return namespace;
}

/** The CEL of a check. */
export function expressionOf(check: Check): string {
  return check.http?.cel ?? check.kubernetes?.cel ?? 'false';
}
