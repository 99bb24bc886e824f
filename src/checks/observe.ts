// Observes all checks of an Incident at once. A check that cannot be observed does not pass.

import type { Check, CheckTarget } from '../api/check.ts';
import { MAX_READING } from '../api/incident-status.ts';
import { errorMessage } from '../errors.ts';
import type { KubeClient } from '../kube/client.ts';
import { keptReading, mentionsBaseline } from './baseline-reading.ts';
import type { Cel } from './cel.ts';
import type { CelVariable } from './cel-protocol.ts';
import type { Discovery } from './discovery.ts';
import { type Reading, readHttp } from './http-check.ts';
import type { HttpFetch } from './http-fetch.ts';
import { readKubernetes } from './kubernetes-check.ts';
import { CheckUnreadable, evidence, type Observation, observation } from './observation.ts';
import { readPrometheus } from './prometheus-check.ts';

/** What checks need to run. Tests pass in their own. */
export interface CheckContext {
  /** Uses the read-only identity of the class. */
  readonly kube: Pick<KubeClient, 'get' | 'list' | 'read'>;
  readonly fetch: HttpFetch;
  readonly cel: Pick<Cel, 'evaluate'>;
  readonly discovery: Discovery;
  readonly now: () => Date;
}

/**
 * Observes all checks. Never throws.
 * @param baselines what each check read before the first command, as JSON, by name. Leave it out to
 * observe before the first command: `baseline` is then what is read now, and each observation
 * contains what to keep of it.
 */
export async function observeChecks(
  checks: readonly Check[],
  targetNamespaces: readonly string[],
  context: CheckContext,
  baselines?: ReadonlyMap<string, string>,
): Promise<Observation[]> {
  return await Promise.all(checks.map((check) => observeCheck(check, targetNamespaces, context, baselines)));
}

async function observeCheck(
  check: Check,
  targetNamespaces: readonly string[],
  context: CheckContext,
  baselines: ReadonlyMap<string, string> | undefined,
): Promise<Observation> {
  try {
    const reading = await readCheck(check, targetNamespaces, context);
    const expression = checkExpression(check);
    const before = prepareBaseline(check.name, expression, reading, baselines);
    const result = await context.cel.evaluate(expression, { ...reading.variables, ...before.variables });
    const found = { observed: describeReading(expression, reading, before.shown), ...before.keep };
    const time = context.now().toISOString();
    if (result.type !== 'error') return observation(check.name, time, { passing: result.type === 'passed', ...found });
    const error = before.missing === undefined ? result.message : `${result.message} (${before.missing})`;
    return observation(check.name, time, { passing: false, error, ...found });
  } catch (error) {
    const forbidden = error instanceof CheckUnreadable && error.forbidden;
    return observation(check.name, context.now().toISOString(), {
      passing: false,
      error: errorMessage(error),
      forbidden,
    });
  }
}

/**
 * The variable `baseline` of an expression that uses it, and what to keep for later observations.
 */
function prepareBaseline(
  name: string,
  expression: string,
  reading: Reading,
  baselines: ReadonlyMap<string, string> | undefined,
): {
  readonly variables?: Readonly<Record<string, CelVariable>>;
  readonly shown?: Readonly<Record<string, unknown>>;
  readonly keep?: { readonly reading: string };
  /** Why it is empty. */
  readonly missing?: string;
} {
  if (!mentionsBaseline(expression)) return {};
  const as = (json: string) => ({ variables: { baseline: { json } }, shown: { baseline: JSON.parse(json) } });
  if (baselines !== undefined) {
    const json = baselines.get(name);
    return json === undefined
      ? { ...as('{}'), missing: 'no reading was kept from before the first command' }
      : as(json);
  }
  const kept = keptReading(expression, reading.variables);
  if (kept?.type === 'kept') return { ...as(kept.json), keep: { reading: kept.json } };
  const missing = `baseline: the parts that cel names have ${kept?.characters} characters, more than the maximum of ${MAX_READING}; name smaller parts`;
  return { ...as('{}'), missing };
}

/** Reads what a check names. @throws CheckUnreadable */
export async function readCheck(
  check: CheckTarget,
  targetNamespaces: readonly string[],
  context: Pick<CheckContext, 'kube' | 'fetch' | 'discovery'>,
): Promise<Reading> {
  const namespace = resolveNamespace(check, targetNamespaces);
  if (check.http !== undefined) return await readHttp(check.http, namespace, context.kube, context.fetch);
  if (check.prometheus !== undefined)
    return await readPrometheus(check.prometheus, namespace, context.kube, context.fetch);
  if (check.kubernetes !== undefined) {
    return await readKubernetes(check.kubernetes, namespace, context.kube, context.discovery);
  }
  throw new CheckUnreadable('the check sets none of http, kubernetes, prometheus');
}

/** The values of a reading that an expression uses, and what answered. */
export function describeReading(
  expression: string,
  reading: Reading,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const values = evidence(expression, { ...reading.shown, ...more });
  return reading.answeredBy === undefined ? values : `${values}; ${reading.answeredBy}`;
}

/**
 * The namespace that a check reads; default: the first target namespace.
 * @throws CheckUnreadable if it is not a target namespace
 */
export function resolveNamespace(check: CheckTarget, targetNamespaces: readonly string[]): string {
  const target = check.http ?? check.kubernetes ?? check.prometheus;
  const namespace = target?.namespace ?? targetNamespaces[0] ?? '';
  if (!targetNamespaces.includes(namespace)) {
    throw new CheckUnreadable(
      `namespace ${namespace} is not one of the target namespaces: ${targetNamespaces.join(', ')}`,
    );
  }
  return namespace;
}

/** The CEL of a check. */
export function checkExpression(check: CheckTarget): string {
  return (check.http ?? check.kubernetes ?? check.prometheus)?.cel ?? 'false';
}
