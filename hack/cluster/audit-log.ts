// The audit log of the cluster's API server: how it is configured, and how it is read.
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../child.ts';
import { cacheDir } from '../toolchain/cache.ts';
import { nodeContainer } from './names.ts';

/** In the node. */
const policyDir = '/etc/kubernetes/policies';
export const policyInNode = `${policyDir}/audit-policy.yaml`;
const logDir = '/var/log/kubernetes';

const logArgs: Readonly<Record<string, string>> = {
  'audit-policy-file': policyInNode,
  'audit-log-path': `${logDir}/audit.log`,
  // Enough for all tests of a day; older files are kept and read as well.
  'audit-log-maxsize': '100',
};

const extraVolumes = [
  { name: 'audit-policy', hostPath: policyDir, mountPath: policyDir, readOnly: true, pathType: 'DirectoryOrCreate' },
  { name: 'audit-log', hostPath: logDir, mountPath: logDir, readOnly: false, pathType: 'DirectoryOrCreate' },
];

/** Patches of kubeadm's configuration. kind chooses the version by that of Kubernetes. */
export const auditPatches: readonly object[] = [
  {
    apiVersion: 'kubeadm.k8s.io/v1beta3',
    kind: 'ClusterConfiguration',
    apiServer: { extraArgs: logArgs, extraVolumes },
  },
  {
    apiVersion: 'kubeadm.k8s.io/v1beta4',
    kind: 'ClusterConfiguration',
    apiServer: {
      // The patch replaces kind's own list, which has this one argument.
      extraArgs: Object.entries({ 'runtime-config': '', ...logArgs }).map(([name, value]) => ({ name, value })),
      extraVolumes,
    },
  },
];

/** The policy as a file that outlives this checkout, because the node mounts it. */
export async function ensureAuditPolicy(): Promise<string> {
  const source = path.join(import.meta.dirname, 'manifests', 'audit-policy.yaml');
  const key = createHash('sha256')
    .update(await readFile(source))
    .digest('hex')
    .slice(0, 16);
  const file = path.join(cacheDir(), `audit-policy-${key}.yaml`);
  await mkdir(cacheDir(), { recursive: true });
  await copyFile(source, file);
  return file;
}

/**
 * The lines of the API server's audit log, oldest first.
 * @throws if the cluster was made without it
 */
export async function readAuditLog(signal?: AbortSignal): Promise<string[]> {
  const policy = await readFile(path.join(import.meta.dirname, 'manifests', 'audit-policy.yaml'), 'utf8');
  const inNode = (command: string) =>
    run('docker', ['exec', nodeContainer, 'sh', '-c', command], {
      allowFailure: true,
      timeoutMs: 60_000,
      ...(signal === undefined ? {} : { signal }),
    });
  const found = await inNode(`cat ${policyInNode}`);
  if (found.code !== 0 || found.stdout.trim() !== policy.trim()) {
    throw new Error(
      'the API server of this cluster does not record what agents do, or by another policy than this checkout has. ' +
        'Make the cluster anew: npm run cluster:down && npm run cluster:up',
    );
  }
  // Rotated files have the time in their name and come first.
  const log = await inNode(`cd ${logDir} && cat $(ls audit-*.log 2>/dev/null | sort) audit.log`);
  if (log.code !== 0) throw new Error(`the API server's audit log cannot be read: ${log.stderr}`);
  return log.stdout.split('\n').filter((line) => line !== '');
}
