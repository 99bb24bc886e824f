// Builds the objects around an agent pod: service account, role bindings and network policy. Pure.

import type { AgentClassSpec, RoleReference } from '../../api/agent-class.ts';
import { type Incident, targetNamespacesOf } from '../../api/incident.ts';
import { NETWORK_POLICIES, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../../kube/resources.ts';
import type { BuiltObject } from '../built-object.ts';
import { verifyAccountName } from '../verify-account.ts';
import { attemptLabels, attemptName, incidentLabels, verifyBindingName } from './names.ts';

interface AttemptContext {
  readonly incident: Incident;
  readonly attempt: number;
  readonly agentsNamespace: string;
}

/**
 * The account that the kube door acts as. The pod has no token for it that the API server accepts.
 */
export function serviceAccount({ incident, attempt, agentsNamespace }: AttemptContext): BuiltObject {
  return {
    resource: SERVICE_ACCOUNTS,
    object: {
      metadata: {
        namespace: agentsNamespace,
        name: attemptName(incident, attempt),
        labels: attemptLabels(incident, attempt),
      },
      automountServiceAccountToken: false,
    },
  };
}

/**
 * Lets this attempt's pod reach the pods of the target namespaces. The policies of the agents'
 * namespace deny everything else.
 */
export function networkPolicy({ incident, attempt, agentsNamespace }: AttemptContext): BuiltObject {
  const labels = attemptLabels(incident, attempt);
  return {
    resource: NETWORK_POLICIES,
    object: {
      metadata: { namespace: agentsNamespace, name: attemptName(incident, attempt), labels },
      spec: {
        podSelector: { matchLabels: labels },
        policyTypes: ['Egress'],
        egress: [
          {
            to: targetNamespacesOf(incident).map((namespace) => ({
              namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
            })),
          },
        ],
      },
    },
  };
}

/**
 * Binds the class's roles to the agent in each target: repairRoles in mode Repair, else readRoles.
 */
export function roleBindings(context: AttemptContext, spec: AgentClassSpec): BuiltObject[] {
  const { incident, attempt, agentsNamespace } = context;
  const roles = spec.mode === 'Repair' ? spec.repairRoles : spec.readRoles;
  const name = attemptName(incident, attempt);
  const labels = attemptLabels(incident, attempt);
  return bindings(targetNamespacesOf(incident), roles, { name, labels, account: name, agentsNamespace });
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
  return bindings(targetNamespacesOf(incident), spec.readRoles, { name, labels, account, agentsNamespace });
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
