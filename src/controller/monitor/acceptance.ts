// Whether a Monitor is acceptable: its class exists and allows it, and its checks are valid. Pure.

import { type AgentClass, allowsNamespace, resolveCeilings } from '../../api/agent-class.ts';
import type { Check, CheckTarget } from '../../api/check.ts';
import { effectiveLimits, soakProblem } from '../../api/limits.ts';
import type { Monitor } from '../../api/monitor.ts';
import { checkExpression, resolveNamespace } from '../../checks/observe.ts';
import { errorMessage } from '../../errors.ts';
import { ownNamespaceProblem } from '../own-namespaces.ts';
import { MONITOR_CHECK } from './build-alarm.ts';
import { listTargets } from './targets.ts';

export interface Refusal {
  readonly reason: 'ClassNotFound' | 'NamespaceNotAllowed' | 'InvalidCheck' | 'SoakTooLong';
  readonly message: string;
}

/** The Monitor's own check, and those of its Incidents. */
export function listChecks({ spec }: Pick<Monitor, 'spec'>): (CheckTarget & Pick<Check, 'name'>)[] {
  return [{ name: MONITOR_CHECK, ...spec.check }, ...spec.incident.verify.checks];
}

/** The CEL expressions of all checks of a Monitor. */
export const listExpressions = (monitor: Pick<Monitor, 'spec'>): string[] => listChecks(monitor).map(checkExpression);

/**
 * Why the Monitor is not accepted; undefined if it is.
 * @param syntaxErrors the error of each invalid expression, by expression
 * @param ownNamespaces the namespaces of oplab itself, which no class can open
 */
export function findRefusal(
  monitor: Monitor,
  agentClass: AgentClass | undefined,
  syntaxErrors: ReadonlyMap<string, string>,
  ownNamespaces: readonly string[],
): Refusal | undefined {
  const { metadata, spec } = monitor;
  const className = spec.incident.agentClassName;
  const targets = listTargets(monitor);
  const own = ownNamespaceProblem(targets, ownNamespaces);
  if (own !== undefined) return { reason: 'NamespaceNotAllowed', message: `incident.${own}` };
  if (agentClass === undefined) {
    return { reason: 'ClassNotFound', message: `AgentClass ${className} does not exist; create it, or name another` };
  }
  const { incidentNamespaces, targetNamespaces } = agentClass.spec;
  if (!allowsNamespace(incidentNamespaces, metadata.namespace ?? '')) {
    const message = `AgentClass ${className} does not allow Incidents in namespace ${metadata.namespace}; it allows: ${incidentNamespaces.join(', ')}`;
    return { reason: 'NamespaceNotAllowed', message };
  }
  const forbidden = targets.filter((target) => !allowsNamespace(targetNamespaces, target));
  if (forbidden.length > 0) {
    const message = `AgentClass ${className} does not allow agents in ${forbidden.join(', ')}; it allows: ${targetNamespaces.join(', ')}`;
    return { reason: 'NamespaceNotAllowed', message };
  }
  for (const check of listChecks(monitor)) {
    const problem = findProblem(check, targets, syntaxErrors);
    if (problem !== undefined) return { reason: 'InvalidCheck', message: `check ${check.name}: ${problem}` };
  }
  const limits = effectiveLimits(spec.incident.limits, resolveCeilings(agentClass.spec));
  const soak = soakProblem(spec.incident.verify.soakSeconds, limits, className);
  if (soak !== undefined) return { reason: 'SoakTooLong', message: `incident.${soak}` };
  const taken = spec.incident.verify.checks.find(({ name }) => name === MONITOR_CHECK);
  if (taken === undefined) return undefined;
  const message = `incident.verify.checks: the name ${taken.name} is reserved for the Monitor's own check; choose another name`;
  return { reason: 'InvalidCheck', message };
}

function findProblem(
  check: CheckTarget,
  targets: readonly string[],
  syntaxErrors: ReadonlyMap<string, string>,
): string | undefined {
  const syntaxError = syntaxErrors.get(checkExpression(check));
  if (syntaxError !== undefined) return `cel: ${syntaxError}`;
  try {
    resolveNamespace(check, targets);
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}
