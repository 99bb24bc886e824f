// Looks at all checks of an Incident at once. Nothing here throws: what cannot be seen is an observation that does not pass.

import type { Check, CheckTarget } from '../api/check.ts';
import { MAX_READING } from '../api/incident.ts';
import { messageOf } from '../errors.ts';
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

/** What looking needs; tests pass in their own reads and fetch. */
export interface CheckContext {
  /** With the class's read-only identity. */
  readonly kube: Pick<KubeClient, 'get' | 'list' | 'read'>;
  readonly fetch: HttpFetch;
  readonly cel: Pick<Cel, 'evaluate'>;
  readonly discovery: Discovery;
  readonly now: () => Date;
}

/**
 * Looks at all checks.
 * @param baselines what each check read before the first command, as JSON, by its name; left out for a look that is itself from
 * before: `baseline` is then what is read now, and the observation carries what has to be kept of it
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
    const expression = expressionOf(check);
    const before = baselineOf(check.name, expression, reading, baselines);
    const verdict = await context.cel.evaluate(expression, { ...reading.variables, ...before.variables });
    const seen = { observed: evidenceOf(expression, reading, before.shown), ...before.keep };
    const time = context.now().toISOString();
    if (verdict.type !== 'error') return observation(check.name, time, { passing: verdict.type === 'passed', ...seen });
    const error = before.missing === undefined ? verdict.message : `${verdict.message} (${before.missing})`;
    return observation(check.name, time, { passing: false, error, ...seen });
  } catch (error) {
    const forbidden = error instanceof CheckUnreadable && error.forbidden;
    return observation(check.name, context.now().toISOString(), { passing: false, error: messageOf(error), forbidden });
  }
}

/** The variable `baseline` of an expression that names it, and what has to be kept so that it can be had later. */
function baselineOf(
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
    return json === undefined ? { ...as('{}'), missing: 'nothing is kept from before the first command' } : as(json);
  }
  const kept = keptReading(expression, reading.variables);
  if (kept?.type === 'kept') return { ...as(kept.json), keep: { reading: kept.json } };
  const missing = `baseline: ${kept?.characters} characters are more than the ${MAX_READING} that are kept; name a smaller part`;
  return { ...as('{}'), missing };
}

/** Reads what a check is about. @throws CheckUnreadable */
export async function readCheck(
  check: CheckTarget,
  targetNamespaces: readonly string[],
  context: Pick<CheckContext, 'kube' | 'fetch' | 'discovery'>,
): Promise<Reading> {
  const namespace = namespaceOf(check, targetNamespaces);
  if (check.http !== undefined) return await readHttp(check.http, namespace, context.kube, context.fetch);
  if (check.prometheus !== undefined)
    return await readPrometheus(check.prometheus, namespace, context.kube, context.fetch);
  if (check.kubernetes !== undefined) {
    return await readKubernetes(check.kubernetes, namespace, context.kube, context.discovery);
  }
  throw new CheckUnreadable('the check has none of http, kubernetes, prometheus');
}

/** What an expression looks at in a reading, and who said so. */
export function evidenceOf(expression: string, reading: Reading, more: Readonly<Record<string, unknown>> = {}): string {
  const seen = evidence(expression, { ...reading.shown, ...more });
  return reading.answeredBy === undefined ? seen : `${seen}; ${reading.answeredBy}`;
}

/** Where a check looks; default: the first target. @throws CheckUnreadable outside of the targets */
export function namespaceOf(check: CheckTarget, targetNamespaces: readonly string[]): string {
  const look = check.http ?? check.kubernetes ?? check.prometheus;
  const namespace = look?.namespace ?? targetNamespaces[0] ?? '';
  if (!targetNamespaces.includes(namespace)) {
    throw new CheckUnreadable(
      `namespace ${namespace} is not one of the Incident's targets: ${targetNamespaces.join(', ')}`,
    );
  }
  return namespace;
}

/** The CEL of a check. */
export function expressionOf(check: CheckTarget): string {
  return (check.http ?? check.kubernetes ?? check.prometheus)?.cel ?? 'false';
}
