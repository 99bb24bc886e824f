// Proves that NetworkPolicies are enforced: a connection works, is blocked, and works again.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { run, succeeds } from '../child.ts';
import { ensureTool } from '../toolchain/tools.ts';
import { imagesInNode } from './load-images.ts';
import { kubeconfigPath } from './names.ts';
import { localPathHelperImage } from './system-images.ts';

const deadlineMs = 30_000;

/** Images with bash that may be in the node, best first. */
const candidates = ['oplab.dev/oplab-sandbox:dev', localPathHelperImage];

function probePod(namespace: string, image: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'client', namespace },
        spec: {
          terminationGracePeriodSeconds: 0,
          automountServiceAccountToken: false,
          containers: [{ name: 'client', image, imagePullPolicy: 'Never', command: ['bash', '-c', 'sleep 600'] }],
        },
      },
    ],
  });
}

/**
 * Runs the probe in a namespace of its own, which is removed afterwards. Takes a few seconds.
 * @returns false when the policy did not close the connection; throws when the connection never
 * worked at all.
 */
export async function probeNetworkPolicy(signal?: AbortSignal): Promise<boolean> {
  const kubectl = await ensureTool('kubectl', { signal });
  const namespace = `oplab-probe-${randomBytes(3).toString('hex')}`;
  const options = { signal };
  const args = (...rest: string[]): string[] => ['--kubeconfig', kubeconfigPath, '-n', namespace, ...rest];
  const present = await imagesInNode(signal);
  const image = candidates.find((candidate) => present.has(candidate));
  if (image === undefined) throw new Error(`none of ${candidates.join(', ')} is in the node; make the images first`);
  const dns = ['-n', 'kube-system', 'get', 'pod', '-l', 'k8s-app=kube-dns', '-o', 'jsonpath={.items[0].status.podIP}'];
  const address = (await run(kubectl, ['--kubeconfig', kubeconfigPath, ...dns], options)).stdout;
  const connects = async (): Promise<boolean> => {
    // CoreDNS' metrics: a port that is open on every cluster of ours.
    const attempt = `exec 3<>/dev/tcp/${address}/9153`;
    return succeeds(kubectl, args('exec', 'client', '--', 'timeout', '1', 'bash', '-c', attempt), options);
  };
  const becomes = async (wanted: boolean): Promise<boolean> => {
    const until = Date.now() + deadlineMs;
    while (Date.now() < until) {
      if ((await connects()) === wanted) return true;
      await sleep(300, undefined, options);
    }
    return false;
  };
  try {
    await run(kubectl, ['--kubeconfig', kubeconfigPath, 'apply', '-f', '-'], {
      ...options,
      input: probePod(namespace, image),
    });
    await run(kubectl, args('wait', '--for=condition=Ready', '--timeout=60s', 'pod', 'client'), options);
    if (!(await becomes(true))) throw new Error('a pod without any NetworkPolicy cannot reach CoreDNS');
    const policy = JSON.stringify({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'deny', namespace },
      spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    });
    await run(kubectl, args('apply', '-f', '-'), { ...options, input: policy });
    if (!(await becomes(false))) return false;
    await run(kubectl, args('delete', 'networkpolicy', 'deny'), options);
    return await becomes(true);
  } finally {
    await run(kubectl, args('delete', 'namespace', namespace, '--wait=false'), { allowFailure: true });
  }
}
