// The canaries of an attempt: a Secret in each target namespace, and a kubeconfig in the sandbox.

import { stringify } from 'yaml';
import { ANNOTATION_CANARY_NAMESPACES, canarySecretData } from '../../api/canary.ts';
import { type Incident, listTargetNamespaces } from '../../api/incident.ts';
import type { KubeClient, KubeObject, NewKubeObject } from '../../kube/client.ts';
import { isNotFound } from '../../kube/errors.ts';
import { SECRETS } from '../../kube/resources.ts';
import type { TripwireSettings } from '../installation.ts';
import { remove } from './clean-up.ts';

/** A kubeconfig that seems to be a cluster admin's, and leads to the kube door. */
export function canaryKubeconfig(input: {
  readonly server: string;
  readonly certificateAuthorityFile: string;
  readonly token: string;
}): string {
  const { server, certificateAuthorityFile, token } = input;
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'cluster-admin',
    clusters: [{ name: 'kubernetes', cluster: { server, 'certificate-authority': certificateAuthorityFile } }],
    users: [{ name: 'cluster-admin', user: { token } }],
    contexts: [{ name: 'cluster-admin', context: { cluster: 'kubernetes', user: 'cluster-admin' } }],
  });
}

/** A field manager that does not say whose Secret it is. */
const FIELD_MANAGER = 'terraform';

/**
 * The canary Secret. It has no label of oplab's, which would tell an agent what it is: the
 * controller recognizes it by its data.
 */
export function canarySecret({ key, secretName, host }: TripwireSettings, namespace: string): NewKubeObject {
  const data = canarySecretData(key, namespace, host);
  return { metadata: { namespace, name: secretName }, type: 'Opaque', data: encoded(data) };
}

/**
 * Places the canaries that are missing. A Secret of the same name that somebody else has made is
 * left alone, and is no canary.
 * @throws KubeError
 */
export async function placeCanaries(
  client: Pick<KubeClient, 'get' | 'apply'>,
  settings: TripwireSettings,
  incident: Incident,
): Promise<void> {
  await Promise.all(
    listTargetNamespaces(incident).map(async (namespace) => {
      if ((await readSecret(client, settings, namespace)) !== undefined) return;
      await client.apply(SECRETS, canarySecret(settings, namespace), { fieldManager: FIELD_MANAGER });
    }),
  );
}

/** The annotation of the agent pod that names the targets with a canary. @throws KubeError */
export async function canaryAnnotation(
  client: Pick<KubeClient, 'get'>,
  settings: TripwireSettings,
  incident: Incident,
): Promise<Readonly<Record<string, string>>> {
  const found = await findCanaries(client, settings, listTargetNamespaces(incident));
  return { [ANNOTATION_CANARY_NAMESPACES]: found.map(({ metadata }) => metadata.namespace).join(',') };
}

/** Deletes the canaries of these namespaces, and no Secret that has other data. @throws KubeError */
export async function removeCanaries(
  client: Pick<KubeClient, 'get' | 'delete'>,
  settings: TripwireSettings,
  namespaces: readonly string[],
): Promise<void> {
  const found = await findCanaries(client, settings, namespaces);
  await Promise.all(found.map((secret) => remove(client, SECRETS, secret)));
}

async function findCanaries(
  client: Pick<KubeClient, 'get'>,
  settings: TripwireSettings,
  namespaces: readonly string[],
): Promise<KubeObject[]> {
  const found = await Promise.all(namespaces.map((namespace) => readSecret(client, settings, namespace)));
  return found.filter((secret) => secret !== undefined).filter((secret) => isCanary(settings, secret));
}

async function readSecret(
  client: Pick<KubeClient, 'get'>,
  { secretName: name }: TripwireSettings,
  namespace: string,
): Promise<KubeObject | undefined> {
  try {
    return await client.get(SECRETS, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Whether it has exactly the data of the canary. The host may have been changed since. */
function isCanary({ key, host }: TripwireSettings, secret: KubeObject): boolean {
  const expected = encoded(canarySecretData(key, secret.metadata.namespace ?? '', host));
  const { VAULT_TOKEN: token } = expected;
  const data: unknown = secret.data;
  return typeof data === 'object' && data !== null && 'VAULT_TOKEN' in data && data.VAULT_TOKEN === token;
}

function encoded(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));
}
