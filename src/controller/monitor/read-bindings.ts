// The role bindings that let an active Monitor read its targets: the readRoles of its class.

import { createHash } from 'node:crypto';
import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER, LABEL_MANAGED_BY, LABEL_MONITOR_UID, MANAGED_BY } from '../../api/group.ts';
import type { Monitor } from '../../api/monitor.ts';
import type { KubeClient } from '../../kube/client.ts';
import { MONITORS, ROLE_BINDINGS } from '../../kube/resources.ts';
import { type BuiltObject, baseName } from '../built-object.ts';
import { verifyAccount, verifyAccountName } from '../verify-account.ts';
import { listTargets } from './targets.ts';

/** Builds the bindings of a Monitor. Pure. */
export function buildReadBindings(monitor: Monitor, agentClass: AgentClass, agentsNamespace: string): BuiltObject[] {
  const account = verifyAccountName(agentClass.metadata.name);
  return listTargets(monitor).flatMap((namespace) =>
    agentClass.spec.readRoles.map((role) => {
      // The roleRef of a binding is immutable, so another role needs another name.
      const identity = createHash('sha256').update(`${role.kind}/${role.name}/${account}`).digest('hex').slice(0, 6);
      return {
        resource: ROLE_BINDINGS,
        object: {
          metadata: {
            namespace,
            name: `${baseName(monitor)}-watch-${identity}`,
            labels: { [LABEL_MANAGED_BY]: MANAGED_BY, [LABEL_MONITOR_UID]: monitor.metadata.uid },
          },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: role.kind, name: role.name },
          subjects: [{ kind: 'ServiceAccount', name: account, namespace: agentsNamespace }],
        },
      };
    }),
  );
}

/**
 * Creates the bindings that the Monitor needs, and deletes those it no longer needs.
 * @throws KubeError
 */
export async function ensureReadBindings(
  client: Pick<KubeClient, 'apply' | 'list' | 'delete'>,
  monitor: Monitor,
  agentClass: AgentClass,
  agentsNamespace: string,
): Promise<void> {
  const bindings = buildReadBindings(monitor, agentClass, agentsNamespace);
  const wanted = [verifyAccount(agentClass.metadata.name, agentsNamespace), ...bindings];
  await Promise.all(
    wanted.map(({ resource, object }) =>
      client.apply(resource, object, { fieldManager: CONTROLLER_MANAGER, force: true }),
    ),
  );
  const keys = new Set(bindings.map(({ object }) => `${object.metadata?.namespace}/${object.metadata?.name}`));
  await deleteReadBindings(client, monitor.metadata.uid, (key) => !keys.has(key));
}

/** Deletes the Monitor's bindings. @throws KubeError */
export async function deleteReadBindings(
  client: Pick<KubeClient, 'list' | 'delete'>,
  monitorUID: string,
  isUnneeded: (key: string) => boolean = () => true,
): Promise<void> {
  const { items } = await client.list(ROLE_BINDINGS, { labelSelector: `${LABEL_MONITOR_UID}=${monitorUID}` });
  const unneeded = items.filter(({ metadata }) => isUnneeded(`${metadata.namespace}/${metadata.name}`));
  await Promise.all(
    unneeded.map(({ metadata: { namespace, name, uid } }) =>
      client.delete(ROLE_BINDINGS, { namespace, name }, { uid }),
    ),
  );
}

/**
 * Deletes the bindings of Monitors that no longer exist, because a Monitor may be deleted while no
 * controller runs.
 * @returns how many there were
 * @throws KubeError
 */
export async function deleteOrphanedReadBindings(client: Pick<KubeClient, 'list' | 'delete'>): Promise<number> {
  const { items } = await client.list(ROLE_BINDINGS, { labelSelector: LABEL_MONITOR_UID });
  if (items.length === 0) return 0;
  // Listed after the bindings, because a Monitor always exists before its bindings do.
  const monitors = new Set((await client.list(MONITORS)).items.map(({ metadata }) => metadata.uid));
  const orphans = items.filter(({ metadata }) => !monitors.has(metadata.labels?.[LABEL_MONITOR_UID]));
  await Promise.all(
    orphans.map(({ metadata: { namespace, name, uid } }) => client.delete(ROLE_BINDINGS, { namespace, name }, { uid })),
  );
  return orphans.length;
}
