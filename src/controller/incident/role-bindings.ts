// Builds the role bindings of an attempt and of its checks in the target namespaces. Pure.

import type { AgentClassSpec, RoleReference } from '../../api/agent-class.ts';
import { type Incident, listTargetNamespaces } from '../../api/incident.ts';
import { ROLE_BINDINGS } from '../../kube/resources.ts';
import type { BuiltObject } from '../built-object.ts';
import { verifyAccountName } from '../verify-account.ts';
import { type AttemptRef, attemptLabels, attemptName, incidentLabels, verifyBindingName } from './names.ts';

/** Binds roles to the agent in each target: repairRoles in mode Repair, else readRoles. */
export function roleBindings(
  { incident, attempt }: AttemptRef,
  spec: AgentClassSpec,
  agentsNamespace: string,
): BuiltObject[] {
  const roles = spec.mode === 'Repair' ? spec.repairRoles : spec.readRoles;
  const name = attemptName(incident, attempt);
  const labels = attemptLabels(incident, attempt);
  return bindings(listTargetNamespaces(incident), roles, { name, labels, account: name, agentsNamespace });
}

/** Binds the readRoles to the account that runs the checks, for as long as the Incident lasts. */
export function verifyBindings(
  incident: Incident,
  className: string,
  spec: AgentClassSpec,
  agentsNamespace: string,
): BuiltObject[] {
  const name = verifyBindingName(incident);
  const account = verifyAccountName(className);
  const labels = incidentLabels(incident);
  return bindings(listTargetNamespaces(incident), spec.readRoles, { name, labels, account, agentsNamespace });
}

function bindings(
  namespaces: readonly string[],
  roles: readonly RoleReference[],
  to: { name: string; labels: Record<string, string>; account: string; agentsNamespace: string },
): BuiltObject[] {
  return namespaces.flatMap((namespace) =>
    roles.map((role, index) => ({
      resource: ROLE_BINDINGS,
      object: {
        metadata: { namespace, name: `${to.name}-${index}`, labels: to.labels },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role.kind, name: role.name },
        subjects: [{ kind: 'ServiceAccount', name: to.account, namespace: to.agentsNamespace }],
      },
    })),
  );
}
