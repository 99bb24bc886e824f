// The rights by which a Monitor can look: its class's reading roles in its targets, for as long as it watches.

import { createHash } from 'node:crypto';
import type { AgentClass } from '../../api/agent-class.ts';
import { CONTROLLER_MANAGER, LABEL_MANAGED_BY, LABEL_MONITOR_UID, MANAGED_BY } from '../../api/group.ts';
import type { Monitor } from '../../api/monitor.ts';
import type { KubeClient } from '../../kube/client.ts';
import { MONITORS, ROLE_BINDINGS } from '../../kube/resources.ts';
import { type BuiltObject, baseName } from '../built-object.ts';
import { verifyAccount, verifyAccountName } from '../verify-account.ts';
import { targetsOf } from './targets.ts';

/** The bindings of a Monitor. Pure. */
export function readBindings(monitor: Monitor, agentClass: AgentClass, agentsNamespace: string): BuiltObject[] {
  const account = verifyAccountName(agentClass.metadata.name);
  return targetsOf(monitor).flatMap((namespace) =>
    agentClass.spec.readRoles.map((role) => {
      // What a binding refers to cannot be changed, so another role or account needs another name.
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

/** Makes what the Monitor needs, and removes what it needed before. @throws KubeError */
export async function ensureReadBindings(
  client: Pick<KubeClient, 'apply' | 'list' | 'delete'>,
  monitor: Monitor,
  agentClass: AgentClass,
  agentsNamespace: string,
): Promise<void> {
  const bindings = readBindings(monitor, agentClass, agentsNamespace);
  const wanted = [verifyAccount(agentClass.metadata.name, agentsNamespace), ...bindings];
  await Promise.all(
    wanted.map(({ resource, object }) =>
      client.apply(resource, object, { fieldManager: CONTROLLER_MANAGER, force: true }),
    ),
  );
  const keys = new Set(bindings.map(({ object }) => `${object.metadata?.namespace}/${object.metadata?.name}`));
  await deleteReadBindings(client, monitor.metadata.uid, (key) => !keys.has(key));
}

/** Takes the Monitor's rights away again. @throws KubeError */
export async function deleteReadBindings(
  client: Pick<KubeClient, 'list' | 'delete'>,
  monitorUID: string,
  which: (key: string) => boolean = () => true,
): Promise<void> {
  const { items } = await client.list(ROLE_BINDINGS, { labelSelector: `${LABEL_MONITOR_UID}=${monitorUID}` });
  const doomed = items.filter(({ metadata }) => which(`${metadata.namespace}/${metadata.name}`));
  await Promise.all(
    doomed.map(({ metadata: { namespace, name, uid } }) => client.delete(ROLE_BINDINGS, { namespace, name }, { uid })),
  );
}

/** Removes the rights of Monitors that are gone: nobody may have looked when they went. @throws KubeError */
export async function deleteOrphanedReadBindings(client: Pick<KubeClient, 'list' | 'delete'>): Promise<number> {
  const { items } = await client.list(ROLE_BINDINGS, { labelSelector: LABEL_MONITOR_UID });
  if (items.length === 0) return 0;
  // Listed after the bindings: a Monitor is always there before its bindings are.
  const monitors = new Set((await client.list(MONITORS)).items.map(({ metadata }) => metadata.uid));
  const orphans = items.filter(({ metadata }) => !monitors.has(metadata.labels?.[LABEL_MONITOR_UID]));
  await Promise.all(
    orphans.map(({ metadata: { namespace, name, uid } }) => client.delete(ROLE_BINDINGS, { namespace, name }, { uid })),
  );
  return orphans.length;
}
