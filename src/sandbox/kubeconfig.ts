// The kubeconfig of the sandbox: the gateway's kube door as its cluster, and the pod's token file.

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';

export interface KubeconfigInput {
  /** The HTTPS URL of the kube door. */
  readonly server: string;
  readonly certificateAuthorityFile: string;
  readonly tokenFile: string;
  /** kubectl's default namespace. */
  readonly namespace: string;
}

/**
 * The file's content. It holds no secret: the token stays in its own file, which the kubelet
 * rotates.
 */
export function kubeconfig(input: KubeconfigInput): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'oplab',
    clusters: [
      { name: 'oplab', cluster: { server: input.server, 'certificate-authority': input.certificateAuthorityFile } },
    ],
    users: [{ name: 'attempt', user: { tokenFile: input.tokenFile } }],
    contexts: [{ name: 'oplab', context: { cluster: 'oplab', user: 'attempt', namespace: input.namespace } }],
  });
}

/** Writes it to `<home>/.kube/config` and returns the path. */
export async function writeKubeconfig(home: string, input: KubeconfigInput): Promise<string> {
  const file = path.join(home, '.kube', 'config');
  await mkdir(path.dirname(file), { recursive: true });
  // Helm warns about a kubeconfig that others can read.
  await writeFile(file, kubeconfig(input), { mode: 0o600 });
  return file;
}
