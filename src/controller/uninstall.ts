// `oplab uninstall`, the chart's pre-delete hook: removes finalizers and rights before oplab goes.

import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { FINALIZER, LABEL_INCIDENT_UID, LABEL_MONITOR_UID } from '../api/group.ts';
import { incident as incidentSchema, listTargetNamespaces } from '../api/incident.ts';
import { parseEnvironment, readKeyFile } from '../environment.ts';
import { createKubeClient, type KubeClient, type KubeObject } from '../kube/client.ts';
import { INCIDENTS, PODS, type Resource, ROLE_BINDINGS } from '../kube/resources.ts';
import { removeCanaries } from './incident/canaries.ts';
import type { TripwireSettings } from './installation.ts';

const DEPLOYMENTS: Resource = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
  namespaced: true,
};

const environment = z.object({
  OPLAB_SYSTEM_NAMESPACE: z.string().min(1),
  /** Without it, there are no canaries to remove. */
  OPLAB_TRIPWIRE_KEY_FILE: z.string().min(1).optional(),
  OPLAB_CANARY_SECRET: z.string().min(1).default('cloud-admin-credentials'),
  OPLAB_CANARY_HOST: z.string().min(1).default('vault.oplab-system.svc'),
});

/**
 * Stops the controller, which would add finalizers again. Then removes the finalizer of every
 * Incident, and the role bindings and canaries of attempts and Monitors in target namespaces. Pods and service
 * accounts of attempts are deleted with their namespace. Safe to run twice.
 */
export async function uninstall(
  client: KubeClient,
  systemNamespace: string,
  tripwires?: TripwireSettings,
): Promise<{ incidents: number; roleBindings: number }> {
  await client.patch(
    DEPLOYMENTS,
    { name: 'oplab-controller', namespace: systemNamespace },
    { spec: { replicas: 0 } },
    { subresource: 'scale' },
  );
  const labelSelector = 'app.kubernetes.io/component=controller,app.kubernetes.io/name=oplab';
  while ((await client.list(PODS, { namespace: systemNamespace, labelSelector })).items.length > 0) await sleep(500);

  const labels = [LABEL_INCIDENT_UID, LABEL_MONITOR_UID];
  const found = await Promise.all(labels.map((labelSelector) => client.list(ROLE_BINDINGS, { labelSelector })));
  const bindings = found.flatMap(({ items }) => items);
  for (const { metadata } of bindings)
    await client.delete(ROLE_BINDINGS, { name: metadata.name, namespace: metadata.namespace });

  const held = (await client.list(INCIDENTS)).items.filter(holdsFinalizer);
  for (const object of held) {
    const { metadata } = object;
    const parsed = incidentSchema.safeParse(object);
    if (tripwires !== undefined && parsed.success) {
      await removeCanaries(client, tripwires, listTargetNamespaces(parsed.data));
    }
    const finalizers = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZER);
    await client.patch(INCIDENTS, { name: metadata.name, namespace: metadata.namespace }, { metadata: { finalizers } });
  }
  return { incidents: held.length, roleBindings: bindings.length };
}

const holdsFinalizer = (object: KubeObject) => object.metadata.finalizers?.includes(FINALIZER) ?? false;

/** The `oplab uninstall` process. */
export async function runUninstall(): Promise<void> {
  const env = parseEnvironment(environment);
  const key = await readKeyFile('OPLAB_TRIPWIRE_KEY_FILE', env.OPLAB_TRIPWIRE_KEY_FILE);
  const tripwires =
    key === undefined ? undefined : { key, secretName: env.OPLAB_CANARY_SECRET, host: env.OPLAB_CANARY_HOST };
  const released = await uninstall(createKubeClient(), env.OPLAB_SYSTEM_NAMESPACE, tripwires);
  console.log(`released ${released.incidents} Incidents and removed ${released.roleBindings} role bindings`);
}
