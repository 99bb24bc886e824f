// Whether an Incident can be worked on: its class exists and allows it, its checks are valid. Pure.

import { type AgentClass, allowsNamespace, resolveCeilings } from '../../api/agent-class.ts';
import { type Incident, listTargetNamespaces } from '../../api/incident.ts';
import { effectiveLimits, type Limits, soakProblem } from '../../api/limits.ts';
import { resolveNamespace } from '../../checks/observe.ts';
import { ownNamespaceProblem } from '../own-namespaces.ts';

type Refused = 'NamespaceNotAllowed' | 'InvalidCheck' | 'SoakTooLong';

export type Acceptance =
  | { readonly type: 'accepted'; readonly agentClass: AgentClass; readonly limits: Limits }
  /** Something outside the Incident is missing, and may still be created. */
  | { readonly type: 'waiting'; readonly reason: 'ClassNotFound'; readonly message: string }
  /** Final, because these fields of the spec cannot change. */
  | { readonly type: 'refused'; readonly reason: Refused; readonly message: string };

/**
 * @param syntaxErrors syntax errors in the CEL of checks, by check name
 * @param ownNamespaces oplab's own namespaces, which no class can allow
 */
export function acceptance(
  incident: Incident,
  agentClass: AgentClass | undefined,
  syntaxErrors: ReadonlyMap<string, string>,
  ownNamespaces: readonly string[],
): Acceptance {
  const { spec, metadata } = incident;
  const refuse = (reason: Refused, message: string): Acceptance => ({
    type: 'refused',
    reason,
    message,
  });
  const targets = listTargetNamespaces(incident);
  const own = ownNamespaceProblem(targets, ownNamespaces);
  if (own !== undefined) return refuse('NamespaceNotAllowed', own);
  if (agentClass === undefined) {
    return {
      type: 'waiting',
      reason: 'ClassNotFound',
      message: `AgentClass ${spec.agentClassName} does not exist; create it, or create the Incident with another agentClassName`,
    };
  }
  if (!allowsNamespace(agentClass.spec.incidentNamespaces, metadata.namespace ?? '')) {
    return refuse(
      'NamespaceNotAllowed',
      `AgentClass ${spec.agentClassName} does not allow Incidents in namespace ${metadata.namespace}; it allows: ${agentClass.spec.incidentNamespaces.join(', ')}`,
    );
  }
  const forbidden = targets.filter((target) => !allowsNamespace(agentClass.spec.targetNamespaces, target));
  if (forbidden.length > 0) {
    return refuse(
      'NamespaceNotAllowed',
      `AgentClass ${spec.agentClassName} does not allow targetNamespaces ${forbidden.join(', ')}; it allows: ${agentClass.spec.targetNamespaces.join(', ')}`,
    );
  }
  for (const check of spec.verify.checks) {
    const syntaxError = syntaxErrors.get(check.name);
    if (syntaxError !== undefined) return refuse('InvalidCheck', `check ${check.name}: cel: ${syntaxError}`);
    try {
      resolveNamespace(check, targets);
    } catch (error) {
      return refuse('InvalidCheck', `check ${check.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const limits = effectiveLimits(spec.limits, resolveCeilings(agentClass.spec));
  const soak = soakProblem(spec.verify.soakSeconds, limits, spec.agentClassName);
  if (soak !== undefined) return refuse('SoakTooLong', soak);
  return { type: 'accepted', agentClass, limits };
}
